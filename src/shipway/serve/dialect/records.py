"""The record form: `{"rows": [{column: value, ...}, ...], "key": "..."}` in, one object per row out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from shipway.bundle.coerce import coerce
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
        raise Rejected(f"{sorted(unknown)[0][:80]!r} is no part of a request", fix='send {"rows": [...], "key": "..."}')
    rows = document["rows"]
    if not isinstance(rows, list) or not rows:
        raise Rejected("'rows' must be a list of at least one object", fix='send {"rows": [{"column": value}]}')
    row_limit(len(rows), max_rows)
    if not all(type(row) is dict for row in rows):
        shallow(rows)
        raise Rejected("each of 'rows' must be an object", fix='send {"rows": [{"column": value}]}')
    no_duplicates(body, len(document) + sum(map(len, rows)))
    try:
        columns = coerce(signature, rows)
    except Rejected:
        shallow(rows)
        raise
    return Question(columns, len(rows), caller_key(document.get("key")), "")


def write(
    signature: Signature, outputs: Mapping[str, np.ndarray[Any, Any]], *, event: str, model: str, version: int
) -> bytes:
    """Answer a record request: one object per row."""
    return orjson.dumps({"event_id": event, "model": model, "version": version, "rows": rows(signature, outputs)})


def rows(signature: Signature, outputs: Mapping[str, np.ndarray[Any, Any]]) -> list[dict[str, Any]]:
    """Write outputs as one dictionary per row; probabilities are keyed by class."""
    lists = {name: values.tolist() for name, values in outputs.items()}
    classes = signature.classes
    if classes and "probability" in lists:
        lists["probability"] = [dict(zip(classes, row, strict=True)) for row in lists["probability"]]
    names = tuple(lists)
    return [dict(zip(names, row, strict=True)) for row in zip(*lists.values(), strict=True)]
