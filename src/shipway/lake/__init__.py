"""Keep every captured request and every label where everyone can read them, exactly once.

    collect       sealed spool segments -> Parquet files and profile deltas, one row each for the inbox
    receive       put such a row into the inbox; a repeat is harmless
    add_labels    take what turned out to be true, for an event id or for the caller's own key
    Lake          commits inbox and labels to Apache Iceberg tables and answers questions about them

One table per endpoint holds the captures, one row per model row, keyed (event_id, row); another holds the
labels. They are plain Iceberg: Spark, Trino, DuckDB and PyIceberg read them without us. The ids of what a
commit brings in are a table property of the same commit, so a kill at any point loses and doubles nothing.

`receive` and `add_labels` need only SQL; the heavy libraries are imported by `collect` and `Lake`.
"""

from typing import Any

_HOMES = {
    "CollectReport": "collector",
    "CommitReport": "store",
    "InboxRow": "inbox",
    "Label": "labels",
    "Lake": "store",
    "UnknownLabels": "store",
    "add_labels": "labels",
    "collect": "collector",
    "receive": "inbox",
    "unknown_labels": "store",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: any public name of the room
    """Import the module that defines `name` when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__name__}.{_HOMES[name]}", fromlist=[name])
    return getattr(module, name)


def __dir__() -> list[str]:
    """Name what may be imported from here."""
    return sorted(_HOMES)
