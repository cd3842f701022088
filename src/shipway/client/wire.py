"""HTTP with keep-alive, shared by threads, that speaks JSON and raises our errors.

A reused connection may have been closed by the other side while it slept. When it ends before the
first byte of an answer, the request is sent once more on a new connection; a new connection that
fails is an answer in itself and is not retried.

Not here: any route by name (see `shipway.client.platform`).
"""

import http.client
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any
from urllib.parse import urlencode, urlsplit

import msgspec

from shipway.errors import Broken, Conflict, Forbidden, Missing, Rejected, ShipwayError, Tampered, Unavailable

Body = bytes | IO[bytes]

_BY_STATUS: dict[int, type[ShipwayError]] = {
    401: Forbidden, 403: Forbidden, 404: Missing, 409: Conflict, 429: Unavailable,
    500: Broken, 502: Unavailable, 503: Unavailable, 504: Unavailable,
}  # fmt: skip
_BY_KIND: dict[str, type[ShipwayError]] = {
    kind.__name__: kind for kind in (Rejected, Missing, Conflict, Forbidden, Tampered, Unavailable, Broken)
}
_FIXES: dict[int, str] = {
    401: "pass --token, set SHIPWAY_TOKEN, or run where `shipway up` wrote its context",
    403: "use a token with the role that this needs; an admin can make one with `shipway token create`",
    404: "look at the names with `shipway list`",
    500: "see the log of the control plane, then report it",
}
_GONE = (http.client.RemoteDisconnected, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)


class _GoneError(Exception):
    """The connection ended before the first byte of an answer."""


class Answer(msgspec.Struct, frozen=True):
    """What came back: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - whatever the route answers
        """Decode the body.

        Raises:
            Broken: it is not JSON.
        """
        try:
            return msgspec.json.decode(self.body) if self.body else None
        except msgspec.DecodeError as exc:
            raise Broken(
                f"the answer with status {self.status} is not JSON: {self.body[:80]!r}",
                fix="check that the URL is that of a Shipway control plane or server",
            ) from exc


class Wire:
    """Connections to one host, kept open between requests and closed by `close`.

    Raises:
        Rejected: the URL is not http or https with a host.
    """

    def __init__(
        self, url: str, *, token: str = "", timeout_s: float = 60.0, fix: str = "start it with `shipway up`"
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Rejected(f"{url!r} is not the URL of a server", fix="write it like http://127.0.0.1:8787")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        try:
            self._port = parts.port
        except ValueError as exc:
            raise Rejected(f"{url!r} has no valid port", fix="write it like http://127.0.0.1:8787") from exc
        self._token = token
        self._timeout_s = timeout_s
        self._fix = fix
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close what is idle. The wire can still be used; it connects again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def request(
        self, method: str, path: str, *, json: object = None, body: Callable[[], Body] | None = None,
        query: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """Send one request and return the answer of any success status.

        Args:
            method: HTTP method.
            path: with a leading slash; parts that are names must be quoted already.
            json: sent as JSON where given.
            body: makes the body where it is not JSON; called again if the request is sent again.
            query: parameters; None values are left out.
            headers: further headers.

        Raises:
            Unavailable: nothing listens, or it did not answer in time.
            ShipwayError: what the server said, as its class.
        """
        wanted = {k: v for k, v in (query or {}).items() if v is not None}
        target = path + (f"?{urlencode(wanted)}" if wanted else "")
        sent = {"accept": "application/json", **(headers or {})}
        if self._token:
            sent["authorization"] = f"Bearer {self._token}"
        if json is not None:
            encoded = msgspec.json.encode(json)
            sent["content-type"] = "application/json"
            body = lambda: encoded  # noqa: E731 - the one-line form of what a caller passes
        answer = self._exchange(method, target, body, sent)
        if answer.status >= 400:
            raise failure(answer)
        return answer

    def _exchange(
        self, method: str, target: str, body: Callable[[], Body] | None, headers: Mapping[str, str]
    ) -> Answer:
        with self._lock:
            reused = self._idle.pop() if self._idle else None
        if reused is not None:
            # A connection that slept may be dead: one more chance on a new one.
            with suppress(_GoneError):
                return self._once(reused, method, target, body, headers)
        try:
            return self._once(self._connection(), method, target, body, headers)
        except _GoneError as exc:
            raise Unavailable(f"{self.url} closed the connection without an answer", fix=self._fix) from exc

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout_s)

    def _once(
        self, connection: http.client.HTTPConnection, method: str, target: str,
        body: Callable[[], Body] | None, headers: Mapping[str, str],
    ) -> Answer:  # fmt: skip
        try:
            # A server may refuse before it has read everything: what it said still counts.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body() if body else None, dict(headers))
            response = connection.getresponse()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except (*_GONE, http.client.CannotSendRequest, http.client.ResponseNotReady) as exc:
            connection.close()
            raise _GoneError from exc
        except TimeoutError as exc:
            connection.close()
            raise Unavailable(
                f"{self.url} did not answer within {self._timeout_s:g} s", fix="try again, or look at its log"
            ) from exc
        except ConnectionRefusedError as exc:
            connection.close()
            raise Unavailable(f"nothing listens at {self.url}", fix=self._fix) from exc
        except (OSError, http.client.HTTPException, ValueError) as exc:
            connection.close()
            raise Unavailable(
                f"{self.url} cannot be reached: {str(exc) or type(exc).__name__}", fix="check the URL, or " + self._fix
            ) from exc
        except BaseException:
            connection.close()
            raise
        self._keep(connection, willing=not response.will_close)
        return answer

    def _keep(self, connection: http.client.HTTPConnection, *, willing: bool) -> None:
        with self._lock:
            if willing and len(self._idle) < 32:
                self._idle.append(connection)
                return
        connection.close()


def failure(answer: Answer) -> ShipwayError:
    """Turn an answer that is no success into the error that it carries.

    >>> failure(Answer(404, {}, b'{"error": "no model is called x", "fix": "look"}'))
    Missing('no model is called x')
    """
    try:
        said = msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError):
        said = {}
    sentence = str(said.get("error") or f"the server answered with status {answer.status}")
    fix = str(said.get("fix") or _FIXES.get(answer.status, "check the URL and the request"))
    kind = _BY_KIND.get(str(said.get("kind"))) or _BY_STATUS.get(answer.status, Rejected)
    return kind(sentence, fix=fix)
