"""Ask the lake: SQL by DuckDB over the files that a snapshot consists of.

Each question names its columns, so it has the same shape before the first capture as after the millionth.
Files are pruned by time before any is opened. Labels are joined when asked: for each event (or key), row
and name the one received last wins.
"""

from collections.abc import Sequence
from typing import NamedTuple

import duckdb
import pyarrow as pa

from shipway.lake.shape import LABEL, kind
from shipway.lake.tables import DataFile

# A label by event wins over one by key only if it came later.
TRUTH = """
told as materialized (select event_id, key, "row", value, received_at, seq from labels where name = 'label'),
truth_by_event as (
  select event_id, "row", value, received_at from told
  where event_id is not null
  qualify row_number() over (partition by event_id, "row" order by received_at desc, seq desc) = 1
),
truth_by_key as (
  select key, "row", value, received_at from told
  where key is not null
  qualify row_number() over (partition by key, "row" order by received_at desc, seq desc) = 1
),
labelled as (
  select c.*,
    case when k.received_at is not null and (e.received_at is null or k.received_at > e.received_at)
      then k.value else e.value end as said
  from captured c
  left join truth_by_event e on e.event_id = c.event_id and e."row" = c."row"
  left join truth_by_key k on k.key = c.key and k."row" = c."row"
)
"""

# "1.0" was said of the class "1": the same number, written like the class.
_TRUTH = """case when out_label <> said and try_cast(out_label as double) = try_cast(said as double)
  then out_label else said end"""

OUTCOMES = f"""
with captured as (
  select * from captures
  where flags & 1 = 0 and ($rollout is null or rollout = $rollout) and "at" >= to_timestamp($since)
),
{TRUTH}
select event_id, "row", epoch_us("at") / 1e6 as "at", variant, served, version, rollout, restart, propensity, status,
  flags, out_label as label, out_score as score, out_prediction as prediction, {_TRUTH} as truth
from labelled order by labelled."at", event_id, "row"
"""  # noqa: S608 - all of it is ours

# A killed shadow may score an event twice: the first counts. One that failed has failed for every row.
PAIRS = f"""
with captured as (
  select * from captures
  where flags & 1 = 0 and rollout = $rollout and restart = $restart and served = 'champion' and status = 200
),
shadows as (
  select pair, "row", status, out_label, out_score, out_prediction from captures
  where flags & 1 = 1 and rollout = $rollout and restart = $restart and pair is not null
    and (status = 200 or "row" = 0)
  qualify event_id = min(event_id) over (partition by pair)
),
{TRUTH}
select c.event_id, c."row", epoch_us(c."at") / 1e6 as "at",
  c.out_label as champion_label, c.out_score as champion_score, c.out_prediction as champion_prediction,
  s.out_label as challenger_label, s.out_score as challenger_score, s.out_prediction as challenger_prediction,
  s.status as challenger_status,
  {_TRUTH.replace("out_label", "c.out_label")} as truth
from labelled c join shadows s on s.pair = c.event_id and (s."row" = c."row" or s.status <> 200)
order by c."at", c.event_id, c."row"
"""  # noqa: S608 - all of it is ours

_TRAINING = f"""
with captured as (
  select * from captures where flags & 1 = 0 and status = 200 and "at" >= to_timestamp($since)
),
{TRUTH}
select @columns, said as @target, out_label is null as is_number
from labelled where said is not null order by labelled."at", event_id, "row"
"""  # noqa: S608 - all of it is ours

UNKNOWN = """
select count(*) as labels, count(distinct coalesce(event_id, key)) as events,
  coalesce(min(epoch_us(received_at)) / 1e6, 0) as oldest
from labels l where received_at < to_timestamp($older_than)
  and not exists (select 1 from captures c where c.event_id = l.event_id)
  and not exists (select 1 from captures c where c.key = l.key)
"""


class Source(NamedTuple):
    """One endpoint's captures and labels as files."""

    captures: list[DataFile]
    shape: pa.Schema
    """Columns that every question may name, in files or not."""
    columns: dict[str, str]
    """Lake column -> name people gave; fixed columns stand for themselves."""
    labels: list[DataFile]


def text(name: str) -> str:
    """Write a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def given(source: Source) -> dict[str, list[str]]:
    """Return name people gave -> lake columns that hold it, in the order of the table."""
    found: dict[str, list[str]] = {}
    for column, name in source.columns.items():
        found.setdefault(name, []).append(column)
    return found


def reading(source: Source, columns: Sequence[str]) -> str:
    """Write the SQL expression for a name that these lake columns hold."""
    if len(columns) == 1:
        return text(columns[0])
    kinds = {kind(source.shape.field(column).type) for column in columns}
    common = "double" if kinds <= {"integer", "number", "boolean"} else "varchar"
    return f"coalesce({', '.join(f'{text(column)}::{common}' for column in columns)})"


def training(columns: str, target: str) -> str:
    """Write the question for labelled rows; both arguments are quoted SQL."""
    return _TRAINING.replace("@target", target).replace("@columns, ", f"{columns}, " if columns else "")


def ask(connection: duckdb.DuckDBPyConnection, source: Source, query: str, params: dict[str, object]) -> pa.Table:
    """Run a question over one endpoint's files."""
    cursor = connection.cursor()
    try:
        cursor.register("capture_shape", source.shape.empty_table())
        cursor.register("label_shape", LABEL.empty_table())
        cursor.execute(_view("captures", "capture_shape", source.captures))
        cursor.execute(_view("labels", "label_shape", source.labels))
        return cursor.sql(query, params=params).to_arrow_table()
    finally:
        cursor.close()


def _view(name: str, shape: str, files: list[DataFile]) -> str:
    if not files:
        return f"create or replace temp view {name} as from {shape}"
    paths = ", ".join("'" + file.path.replace("'", "''") + "'" for file in files)
    return (
        f"create or replace temp view {name} as from {shape} union all by name "
        f"from read_parquet([{paths}], union_by_name = true)"
    )
