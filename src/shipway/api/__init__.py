"""REST for everything: each route parses, calls one function of a room in one transaction, and renders.

`create_app(platform)` makes the application; `platform` is `wiring.platform.Platform` or anything with
the same five attributes. Every route needs a bearer token, except those in `OPEN`; a failure is
`{"error": sentence, "fix": what to do}` with the status of its class in `shipway.errors`. A reader of the
API opens `/docs`, which is drawn from `/openapi.json` by a script of our own: no page loads anything
from elsewhere.

Not here: rules. A decision that a route seems to take belongs into the room that it calls.
"""

from shipway.api.app import OPEN, create_app
from shipway.api.call import Call, Platform, allow

__all__ = ["OPEN", "Call", "Platform", "allow", "create_app"]
