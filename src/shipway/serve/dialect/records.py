"""The record form: `{"rows": [{column: value, ...}, ...], "key": "..."}` in, one object per row out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from shipway import bundle
from shipway.errors import Rejected
from shipway.serve.dialect.question import Question, caller_key, row_limit
from shipway.serve.dialect.strict import no_duplicates, shallow
from shipway.terms import Signature

KNOWN = frozenset({"rows", "key"})


def read(document: dict[str, Any], body: bytes, signature: Signature, max_rows: int) -> Question:
    """Turn a parsed record body into columns.

    Raises:
        Rejected: something in it is not what the signature allows; the sentence names column and row.
    """
    unknown = document.keys() - KNOWN
    if unknown:
        raise Rejected(f"{min(unknown)[:80]!r} is no part of a request", fix='send {"rows": [...], "key": "..."}')
    rows = document["rows"]
    if not isinstance(rows, list) or not rows:
        raise Rejected("'rows' must be a list of at least one object", fix='send {"rows": [{"column": value}]}')
    row_limit(len(rows), max_rows)
    if not all(type(row) is dict for row in rows):
        shallow(rows)
        raise Rejected("each of 'rows' must be an object", fix='send {"rows": [{"column": value}]}')
    no_duplicates(body, len(document) + sum(map(len, rows)))
    try:
        columns = bundle.coerce(signature, rows)
    except Rejected:
        shallow(rows)
        raise
    return Question(columns, len(rows), caller_key(document.get("key")), "")


def write(
    signature: Signature, outputs: Mapping[str, np.ndarray[Any, Any]], *, event: str, model: str, version: int
) -> bytes:
    """Answer a record request: one object per row."""
    rows = bundle.records(signature, outputs)
    return orjson.dumps({"event_id": event, "model": model, "version": version, "rows": rows})
