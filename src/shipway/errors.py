"""Every failure that a caller may catch, one class per decision the caller can take.

    ShipwayError
    ├── Rejected      the request is wrong and will stay wrong: change it       exit 2, HTTP 422
    ├── Missing       no such thing under this name                             exit 2, HTTP 404
    ├── Conflict      someone moved first: fetch, look again, decide again      exit 1, HTTP 409
    ├── Forbidden     this principal may not: another token, or ask             exit 2, HTTP 403
    ├── Tampered      what is here is not what was verified: do not run it      exit 1, HTTP 409
    ├── Unavailable   not now: try again later                                  exit 3, HTTP 503
    └── Broken        our own machinery failed: report it                       exit 3, HTTP 500

A message is one sentence with the fact and its numbers; `fix` is the next thing to do. The CLI
prints the fix on a line of its own, the API returns it beside the message. Neither holds a
secret, a token or a row of customer data.
"""

from typing import ClassVar


class ShipwayError(Exception):
    """A failure with its remedy.

    Attributes:
        fix: what to do next, as an order.
        status: the HTTP status that carries it.
        exit_code: the exit status of a command that ends with it.

    >>> str(Missing("no model is called churm", fix="shipway list shows the names; did you mean churn?"))
    'no model is called churm'
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class Rejected(ShipwayError):
    """The request is wrong and will stay wrong until it is changed."""

    status = 422
    exit_code = 2


class Missing(ShipwayError):
    """Nothing is known under this name."""

    status = 404
    exit_code = 2


class Conflict(ShipwayError):
    """Someone else moved first: fetch, look again, decide again."""

    status = 409
    exit_code = 1


class Forbidden(ShipwayError):
    """This principal may not do that. HTTP 401 where no valid token came at all, else 403."""

    status = 403
    exit_code = 2


class Tampered(ShipwayError):
    """What is here is not what was verified; it is not run."""

    status = 409
    exit_code = 1


class Unavailable(ShipwayError):
    """Not now; the same request may succeed later."""

    status = 503
    exit_code = 3


class Broken(ShipwayError):
    """Our own machinery failed, and the caller cannot mend it."""
