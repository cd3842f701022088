"""Refuse requests that another site makes in a reader's name, and tell browsers what a page may do.

Two checks stand before every page. The `Host` header must be a name of this machine or the configured
one: a page of another site whose name was pointed at this machine (DNS rebinding) fails here. A POST
must say in `Origin` (or `Referer`) that it comes from this very site; with the SameSite=Strict cookie
that is two locks on one door.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # `no-referrer` would make browsers send `Origin: null` with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def host_name(host: str) -> str:
    """Take the name out of a `Host` header.

    >>> host_name("127.0.0.1:8787"), host_name("[::1]:8787"), host_name("Localhost"), host_name("a@b:1")
    ('127.0.0.1', '::1', 'localhost', '')
    """
    if "@" in host or "/" in host:
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def is_ours(host: str, configured: frozenset[str]) -> bool:
    """Whether a `Host` header names this machine by loopback or by a configured name."""
    return host_name(host) in LOOPBACK | configured


def comes_from_here(headers: Mapping[str, str], scheme: str) -> bool:
    """Whether a request that changes something was made by a page of this very site."""
    here = (scheme, headers.get("host", "").lower())
    said = headers.get("origin") or headers.get("referer")
    if not said:
        return False
    parts = urlsplit(said)
    return (parts.scheme, parts.netloc.lower()) == here
