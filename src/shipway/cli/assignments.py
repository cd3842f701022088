"""Parse `KEY=VALUE` words of the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from shipway.errors import Rejected


def split(word: str, what: str) -> tuple[str, str]:
    """Split one `KEY=VALUE`.

    Raises:
        Rejected: there is no `=` in it.
    """
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise Rejected(f"{word!r} is not a {what}", fix="write it as KEY=VALUE")
    return key.strip(), value


def settings(words: Sequence[str] | None) -> dict[str, Any]:
    """Parse settings of an endpoint: JSON where it is JSON, else text; `webhooks` takes several with commas.

    >>> settings(["auto_promote=true", "deadline_ms=500", "webhooks=http://a,http://b"])
    {'auto_promote': True, 'deadline_ms': 500, 'webhooks': ['http://a', 'http://b']}
    """
    found: dict[str, Any] = {}
    for word in words or ():
        key, value = split(word, "setting")
        found[key] = scalar(value) if key != "webhooks" else [part.strip() for part in value.split(",") if part.strip()]
    return found


def policies(words: Sequence[str] | None) -> dict[str, str]:
    """Read policy files: `rollout=rollout.toml` and the like.

    Raises:
        Rejected: a file cannot be read as text.
    """
    found = {}
    for word in words or ():
        kind, file = split(word, "policy")
        found[kind] = text(Path(file))
    return found


def text(path: Path) -> str:
    """Read a text file.

    Raises:
        Rejected: it is not there, or not text.
    """
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise Rejected(
            f"{path} cannot be read as text: {getattr(exc, 'strerror', None) or 'not UTF-8'}", fix="check the path"
        ) from exc


def scalar(value: str) -> Any:  # noqa: ANN401 - whatever scalar JSON says
    """Read a word as a JSON scalar, or as itself.

    >>> scalar("3"), scalar("true"), scalar("yes"), scalar('"3"')
    (3, True, 'yes', '3')
    """
    try:
        found = msgspec.json.decode(value.encode())
    except (msgspec.DecodeError, RecursionError):
        return value
    return value if isinstance(found, dict | list) or found is None else found
