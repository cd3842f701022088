"""Ask an endpoint for predictions, as any caller does: over HTTP, from a server.

Nothing here knows the control plane; a `Predictor` works while that is down.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import msgspec

from shipway.client.wire import Wire
from shipway.terms import name


class Prediction(msgspec.Struct, frozen=True):
    """An answer with the names that bind it to what happened."""

    event_id: str
    """Pass it back with the label, once the truth is known."""
    model: str
    version: int
    variant: str
    """`champion` or `challenger`: who answered."""
    rows: list[dict[str, Any]]
    """One per row asked: `{"label", "probability"}`, `{"prediction"}` or the model's own outputs."""


class Predictor:
    """Calls endpoints of one server. Threads may share it; close it or use it in `with`."""

    def __init__(self, url: str = "http://127.0.0.1:8786", token: str = "", *, timeout_s: float = 30.0) -> None:
        self._wire = Wire(
            url, token=token, timeout_s=timeout_s, fix="start a server with `shipway up` or `shipway serve`"
        )
        self.url = self._wire.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        self._wire.close()

    def predict(
        self,
        endpoint: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        key: str = "",
        deadline_ms: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Prediction:
        """Return one answer per row.

        Args:
            endpoint: its name.
            rows: records of column name -> value; None is a missing value.
            key: your own id of the request, by which a label may come later.
            deadline_ms: how long you will wait; the endpoint's own deadline otherwise.
            headers: further headers, e.g. the one an endpoint is sticky by.

        Raises:
            Rejected: a row does not fit the signature.
            Missing: there is no such endpoint.
            Forbidden: the endpoint wants a token.
            Unavailable: nothing listens, or the answer came too late.
        """
        sent = dict(headers or {})
        if deadline_ms is not None:
            sent["shipway-deadline-ms"] = str(deadline_ms)
        path = f"/v2/models/{quote(name(endpoint, 'endpoint'), safe='')}/infer"
        # The key goes with the body: a header cannot hold every text.
        body = {"rows": rows, "key": key} if key else {"rows": rows}
        answer = self._wire.request("POST", path, json=body, headers=sent)
        said = answer.json()
        return Prediction(
            event_id=said.get("event_id") or answer.headers.get("shipway-event-id", ""),
            model=str(said.get("model", "")),
            version=int(said.get("version", 0)),
            variant=answer.headers.get("shipway-variant", ""),
            rows=said.get("rows", []),
        )

    def inputs(self, endpoint: str) -> dict[str, str]:
        """Return the columns that an endpoint takes: name -> datatype.

        Raises:
            Missing: there is no such endpoint.
        """
        said = self._wire.request("GET", f"/v2/models/{quote(name(endpoint, 'endpoint'), safe='')}").json()
        return {column["name"]: column["datatype"] for column in said.get("inputs", [])}

    def versions(self, endpoint: str) -> list[str]:
        """Return the versions that the server has loaded for an endpoint."""
        said = self._wire.request("GET", f"/v2/models/{quote(name(endpoint, 'endpoint'), safe='')}").json()
        return [str(version) for version in said.get("versions", [])]

    def ready(self, endpoint: str) -> bool:
        """Say whether the server would answer for this endpoint now."""
        return self._wire.request("GET", f"/v2/models/{quote(name(endpoint, 'endpoint'), safe='')}/ready").status == 200
