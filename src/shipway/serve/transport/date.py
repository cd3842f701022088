"""The instant of an answer, as HTTP writes it."""

from email.utils import formatdate


def http_date(now: float) -> bytes:
    """Write Unix seconds as an IMF-fixdate (RFC 9110, 5.6.7).

    >>> http_date(0)
    b'Thu, 01 Jan 1970 00:00:00 GMT'
    """
    return formatdate(now, usegmt=True).encode()
