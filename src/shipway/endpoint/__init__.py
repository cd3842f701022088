"""What should be running: endpoints, their variants, and the route table that servers obey.

    with database.transaction() as tx:
        endpoints = SqlEndpoints(tx)
        endpoints.create("default", "churn", "churn", 3, by="ann", now=now)
        table = compose(tx, now)            # in the transaction of the decision
    if table: publish(settings.routes, table)   # after it

    variant, propensity = choose(route, unit)   # in a worker, for each request

`assign` gives a unit to a variant by hash and range; `decide` (pure) checks a split and makes a route table
from rows; `_sql` keeps the rows; `routes` numbers tables and hands them out.

What needs SQL is imported on first use (PEP 562), because workers import `shipway.endpoint.assign`.
"""

from typing import Any

from shipway.endpoint.assign import bucket, choose
from shipway.endpoint.decide import table
from shipway.endpoint.rows import EndpointRow, EndpointSettings

_ON_FIRST_USE = ("SqlEndpoints", "compose", "latest", "publish")


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shipway.endpoint import routes

    return getattr(routes, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})


__all__ = ["EndpointRow", "EndpointSettings", "bucket", "choose", "table"]
