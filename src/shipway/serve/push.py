"""Push counts to the control plane, and notice when it does not take them.

One thread with one kept connection: a control plane that is slow or gone never holds up a supervisor.
"""

import http.client
import ssl
from urllib.parse import urlsplit

import msgspec

from shipway.errors import Unavailable
from shipway.terms import CountsReport

TIMEOUT_S = 5.0
FIX = "see whether the control plane runs, and whether the server's token is valid"


class Pusher:
    """A connection to `/v1/counts`. Used by one thread at a time."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port
        self._secure = parts.scheme == "https"
        self._path = f"{parts.path.rstrip('/')}/v1/counts"
        self._headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        self._connection: http.client.HTTPConnection | None = None

    def push(self, report: CountsReport) -> None:
        """Send a report.

        Raises:
            Unavailable: it was not taken.
        """
        body = msgspec.json.encode(report)
        kept = self._connection is not None
        try:
            self._send(body)
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            if not kept:
                raise Unavailable(f"the control plane does not answer: {exc}", fix=FIX) from exc
            try:  # a kept connection may have been closed in between: totals are safe to send again
                self._send(body)
            except (OSError, http.client.HTTPException) as again:
                self.close()
                raise Unavailable(f"the control plane does not answer: {again}", fix=FIX) from again

    def _send(self, body: bytes) -> None:
        if self._connection is None:
            self._connection = (
                http.client.HTTPSConnection(
                    self._host, self._port, timeout=TIMEOUT_S, context=ssl.create_default_context()
                )
                if self._secure
                else http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
            )
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status >= 300:
            raise Unavailable(f"the control plane answered {answer.status} to our counts", fix=FIX)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
