# What the front door gives, for type checkers: at run time `__init__.py` imports the SQL half on first use.

from shipway.endpoint._sql import SqlEndpoints as SqlEndpoints
from shipway.endpoint.assign import bucket as bucket
from shipway.endpoint.assign import choose as choose
from shipway.endpoint.decide import table as table
from shipway.endpoint.routes import compose as compose
from shipway.endpoint.routes import latest as latest
from shipway.endpoint.routes import publish as publish
from shipway.endpoint.rows import EndpointRow as EndpointRow
from shipway.endpoint.rows import EndpointSettings as EndpointSettings
