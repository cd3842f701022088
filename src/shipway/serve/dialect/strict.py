"""Strict JSON: what RFC 8259 leaves open is refused, with a sentence.

Parsers differ on NaN, 1e400, duplicate keys, lone surrogates and deep nesting; a caller whose
request means two things gets an error, not one of the meanings.
"""

import json
from typing import Any, NoReturn

import msgspec

from shipway.errors import Rejected

DEPTH = 64
_decode = msgspec.json.Decoder().decode


def parse(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse a JSON text.

    Duplicate keys are not found here, because only the dialect knows which objects it will read:
    see `no_duplicates`.

    Raises:
        Rejected: it is not JSON, or a number or a text in it stands for nothing.
    """
    try:
        return _decode(body)
    except RecursionError:
        raise Rejected(f"the body is nested deeper than {DEPTH} levels", fix="send rows as flat objects") from None
    except (msgspec.MsgspecError, ValueError) as exc:
        if not body:
            raise Rejected("the body is empty", fix='send JSON such as {"rows": [{...}]}') from None
        raise Rejected(f"the body is not strict JSON: {exc}", fix=_advice(body)) from None


def _advice(body: bytes) -> str:
    if b"NaN" in body or b"Infinity" in body:
        return "write a missing number as null; NaN and Infinity are not JSON"
    if b"\\ud" in body or b"\\uD" in body:
        return "write surrogates in pairs, or the character itself in UTF-8"
    return "send UTF-8 JSON with finite numbers"


def no_duplicates(body: bytes, keys: int) -> None:
    """Refuse a body in which an object names a key twice.

    Each key has one colon. As long as there are no more colons than keys that were understood,
    no key was dropped, and nothing else needs to be done; otherwise the body is read again, slowly.

    Args:
        body: the text that was parsed.
        keys: keys in all objects of the parsed value.

    Raises:
        Rejected: a key came twice.
    """
    if body.count(b":") > keys:
        try:
            json.loads(body, object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=str)
        except RecursionError:
            _too_deep()


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [k for k, _ in pairs]
        twice = next(k for k in names if names.count(k) > 1)
        raise Rejected(f"the key {twice[:80]!r} comes twice in one object", fix="send each key once")
    return found


def shallow(value: object) -> None:
    """Refuse a value nested deeper than 64 levels.

    Raises:
        Rejected: it is.
    """
    level = [value]
    for _ in range(DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    _too_deep()


def _too_deep() -> NoReturn:
    raise Rejected(f"the body is nested deeper than {DEPTH} levels", fix="send rows as flat objects")
