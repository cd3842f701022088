"""What the columns of the lake are called and hold.

Captures have fixed columns and, for each column of the model, `in_NAME` or `out_NAME`. Iceberg readers agree
on letters, digits and underscore only, some without regard to case, so a table keeps a map from its columns
to the names people gave (property `shipway.columns`). If a later version gives a name another type, it gets
another column under the same name, and readers take whichever is filled.
"""

import re
from collections.abc import Iterable, Mapping

import pyarrow as pa

INSTANT = pa.timestamp("us", tz="UTC")

CAPTURE = pa.schema([
    pa.field("event_id", pa.string()),
    pa.field("row", pa.int32()),
    pa.field("at", INSTANT),
    pa.field("key", pa.string()),
    pa.field("pair", pa.string()),
    pa.field("epoch", pa.int64()),
    pa.field("variant", pa.string()),
    pa.field("served", pa.string()),
    pa.field("model", pa.string()),
    pa.field("version", pa.int32()),
    pa.field("digest", pa.string()),
    pa.field("rollout", pa.string()),
    pa.field("restart", pa.int32()),
    pa.field("propensity", pa.int32()),
    pa.field("unit", pa.int64()),
    pa.field("rows", pa.int32()),
    pa.field("latency_us", pa.int64()),
    pa.field("status", pa.int32()),
    pa.field("flags", pa.int32()),
])  # fmt: skip
"""Columns that every capture has. `unit` is the 64-bit hash read as a signed number."""

ANSWERS = pa.schema([
    pa.field("out_label", pa.string()),
    pa.field("out_score", pa.float64()),
    pa.field("out_prediction", pa.float64()),
])  # fmt: skip
"""Columns that queries rely on, also before any capture has them."""

LABEL = pa.schema([
    pa.field("event_id", pa.string()),
    pa.field("key", pa.string()),
    pa.field("row", pa.int32()),
    pa.field("name", pa.string()),
    pa.field("value", pa.string()),
    pa.field("at", INSTANT),
    pa.field("received_at", INSTANT),
    pa.field("seq", pa.int64()),
])  # fmt: skip
"""Columns of labels. `value` is the label as text, written like the classes of a model."""


def lake_name(original: str, taken: Iterable[str]) -> str:
    """Return a column name that every Iceberg reader can say, unlike any in `taken` whatever the case.

    >>> lake_name("in_hours-per-week", ["in_Hours_per_week"])
    'in_hours_per_week_2'
    """
    plain = re.sub(r"[^A-Za-z0-9_]", "_", original)
    lower = {name.lower() for name in taken}
    name, number = plain, 1
    while name.lower() in lower:
        number += 1
        name = f"{plain}_{number}"
    return name


def kind(held: pa.DataType) -> str:
    """Return what a column holds, however Arrow lays it out.

    >>> kind(pa.large_string()), kind(pa.list_(pa.float64())), kind(pa.int64())
    ('text', 'list of number', 'integer')
    """
    if pa.types.is_list(held) or pa.types.is_large_list(held):
        return f"list of {kind(held.value_type)}"
    if pa.types.is_boolean(held):
        return "boolean"
    if pa.types.is_integer(held):
        return "integer"
    return "number" if pa.types.is_floating(held) else "text"


def fit(table: pa.Table, known: pa.Schema, names: Mapping[str, str]) -> tuple[pa.Table, dict[str, str]]:
    """Rename the columns of captures to those of their lake table, and say which are new.

    Args:
        table: captures with columns as people call them.
        known: columns of the lake table.
        names: its map from columns to the names people gave.

    Returns:
        The captures with lake columns, and the part of the map that the table lacks.
    """
    taken = [*known.names]
    places = {(given, kind(known.field(name).type)): name for name, given in names.items()}
    new: dict[str, str] = {}
    renamed = []
    for field in table.schema:
        if field.name in CAPTURE.names:
            renamed.append(field.name)
            continue
        given = field.name.partition("\0")[0]  # `collector.join` marks a second type of one name
        place = (given, kind(field.type))
        if place not in places:
            places[place] = lake_name(given, taken)
            taken.append(places[place])
            new[places[place]] = given
        renamed.append(places[place])
    return table.rename_columns(renamed), new
