"""What a body asks, whatever dialect it came in."""

from typing import Any

import numpy as np
from msgspec import Struct

from shipway.errors import Rejected


class Question(Struct, frozen=True):
    """Columns to predict on, and the names the caller gave to the request."""

    columns: dict[str, np.ndarray[Any, Any]]
    rows: int
    key: str
    """The caller's own id, for labels; "" if none."""
    id: str
    """V2's `id`, to be sent back; "" if none."""


def caller_key(value: object) -> str:
    """Give the caller's own id back, as text.

    Raises:
        Rejected: it is not 1 to 200 printable characters.
    """
    if value is None:
        return ""
    if isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable():
        return value
    raise Rejected(
        "the key is not a text of 1 to 200 printable characters", fix="send an id that your labels will name"
    )


def row_limit(rows: int, max_rows: int) -> None:
    """Refuse more rows than the endpoint answers at once.

    Raises:
        Rejected: there are more.
    """
    if rows > max_rows:
        raise Rejected(
            f"{rows} rows came in one request and this endpoint answers {max_rows} at once",
            fix="split the request, or score a file with 'shipway score'",
        )
