"""Open bundles, let them answer rows with known outcomes, and have what they answered judged."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shipway import bundle
from shipway.bundle import AuditedBundle
from shipway.errors import Rejected
from shipway.gate.decide import Evaluation, Judgement, judge
from shipway.gate.policy import DEFAULT_TOML, Policy, parse_policy
from shipway.stats.metrics import replicate
from shipway.terms import Column, Signature, Task

TARGET = "__target__"
"""Column of `reference/rows.parquet` that holds what turned out to be true."""

ROWS_FILE = "reference/rows.parquet"
PREDICATE = "urn:shipway:gate:v1"
_BATCH = 8192

Columns = dict[str, npt.NDArray[Any]]


def run(
    bundle_folder: Path,
    champion_folder: Path | None = None,
    policy_text: str | None = None,
    *,
    now: float,
    data: pa.Table | None = None,
    target: str = TARGET,
) -> tuple[Judgement, dict[str, Any]]:
    """Judge a bundle on rows with known outcomes, beside the champion on the same rows.

    Args:
        bundle_folder: the version to judge.
        champion_folder: who answers now; None if there is none.
        policy_text: `gate.toml`; None or "" for the default.
        now: Unix seconds, noted in the statement.
        data: rows to judge on instead of the bundle's own holdout rows.
        target: column of `data` with the outcomes.

    Returns:
        The judgement, and the in-toto statement to attach to the bundle's digest.

    Raises:
        Rejected: the policy is wrong, or the rows do not fit the bundle's signature.
        Tampered: the bundle is not what its manifest says.
    """
    text = policy_text or DEFAULT_TOML
    policy = parse_policy(text)
    candidate = bundle.audit(bundle.read(bundle_folder))
    table, source = _rows(candidate, data)
    if target not in table.column_names:
        raise Rejected(
            f"the rows have no column {target!r} with the outcomes",
            fix=f"name it; the columns are {', '.join(table.column_names[:10])}",
        )
    table = table.filter(pc.invert(pc.is_null(table[target], nan_is_null=True)))
    judged = _evaluate(candidate, table, target, policy)
    champion, obstacle = _champion(champion_folder, candidate, table, target, policy)
    judgement = judge(judged, champion, policy, obstacle=obstacle)
    return judgement, _statement(candidate, judgement, text, source, now)


def _rows(candidate: AuditedBundle, data: pa.Table | None) -> tuple[pa.Table, dict[str, Any]]:
    if data is not None:
        return data, {"rows": "given by the caller", "count": data.num_rows}
    if not candidate.has(ROWS_FILE):
        raise Rejected(
            f"bundle {candidate.manifest.model} carries no rows with known outcomes",
            fix="give a table with `--data FILE --target COLUMN`, or pack it with a target",
        )
    content = candidate.content(ROWS_FILE)
    table = pq.read_table(pa.BufferReader(content))
    return table, {"rows": ROWS_FILE, "sha256": hashlib.sha256(content).hexdigest(), "count": table.num_rows}


def _champion(
    folder: Path | None, candidate: AuditedBundle, table: pa.Table, target: str, policy: Policy
) -> tuple[Evaluation | None, str]:
    if folder is None:
        return None, ""
    champion = bundle.audit(bundle.read(folder))
    ours, theirs = candidate.manifest, champion.manifest
    if champion.digest == candidate.digest:
        return None, ""
    if ours.task is not theirs.task or ours.signature.classes != theirs.signature.classes:
        return None, "the champion answers another question: its task or classes differ"
    missing = [c.name for c in theirs.signature.inputs if c.name not in table.column_names]
    if missing:
        return None, f"the champion needs column {missing[0]!r}, which these rows do not have"
    try:
        return _evaluate(champion, table, target, policy, name="the champion"), ""
    except Rejected as exc:
        return None, f"the champion refuses these rows: {exc}"


def _evaluate(audited: AuditedBundle, table: pa.Table, target: str, policy: Policy, *, name: str = "") -> Evaluation:
    manifest = audited.manifest
    columns = _columns(table, manifest.signature)
    bundle.check(manifest.signature, columns)
    runtime = bundle.open(audited, bundle.DEFAULT)
    try:
        parts = [
            runtime.predict({k: v[start : start + _BATCH] for k, v in columns.items()})
            for start in range(0, table.num_rows, _BATCH)
        ]
    finally:
        runtime.close()
    outputs = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]} if parts else {}
    truth = _truth(table[target], manifest.task, manifest.signature.classes)
    metrics = replicate(
        manifest.task,
        manifest.signature.classes,
        truth,
        outputs,
        replicates=policy.gate.replicates,
        seed=policy.gate.seed,
    )
    occurring = 0 if manifest.task is Task.REGRESSION else len(set(truth.tolist()))
    return Evaluation(name or manifest.model, manifest.task, occurring, table.num_rows, metrics)


def _truth(column: pa.ChunkedArray, task: Task, classes: tuple[str, ...]) -> npt.NDArray[Any]:
    if task is Task.REGRESSION:
        try:
            return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
            raise Rejected(f"the outcomes are not numbers: {exc}", fix="name the column with the numbers") from exc
    values = column.to_pylist()
    if any(isinstance(v, float) for v in values):
        # 1.0 in a file is the class "1" where no class is called "1.0".
        values = [str(int(v)) if str(v) not in classes and float(v).is_integer() else str(v) for v in values]
    return np.array([str(v) for v in values], dtype=object)


def _columns(table: pa.Table, signature: Signature) -> Columns:
    missing = [c.name for c in signature.inputs if c.name not in table.column_names]
    if missing:
        raise Rejected(
            f"the rows have no column {missing[0]!r}, which the signature asks for",
            fix=f"give rows with the columns {', '.join(c.name for c in signature.inputs)}",
        )
    return {c.name: _array(table[c.name], c) for c in signature.inputs}


_ARROW = {
    "FP64": pa.float64(),
    "FP32": pa.float32(),
    "INT64": pa.int64(),
    "INT32": pa.int32(),
    "BOOL": pa.bool_(),
}


def _array(values: pa.ChunkedArray, column: Column) -> npt.NDArray[Any]:
    if column.shape:
        return np.array(values.to_pylist(), dtype=_ARROW[column.datatype].to_pandas_dtype())
    if column.datatype == "BYTES":
        return np.array([None if v is None else str(v) for v in values.to_pylist()], dtype=object)
    try:
        cast = values.cast(_ARROW[column.datatype])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        raise Rejected(
            f"column {column.name!r} does not hold {column.datatype}: {exc}", fix="correct these cells of the table"
        ) from exc
    if cast.null_count and column.datatype not in ("FP64", "FP32"):
        raise Rejected(
            f"column {column.name!r} has {cast.null_count} missing cells and is not nullable",
            fix="leave those rows out, or pack the model with such cells in its data",
        )
    return np.asarray(cast.to_numpy())


def _statement(
    candidate: AuditedBundle, judgement: Judgement, policy_text: str, source: dict[str, Any], now: float
) -> dict[str, Any]:
    """Write the judgement as an in-toto statement (https://github.com/in-toto/attestation, spec v1)."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": candidate.manifest.model, "digest": {"sha256": candidate.digest.removeprefix("sha256:")}}],
        "predicateType": PREDICATE,
        "predicate": {
            **msgspec.to_builtins(judgement),
            "data": source,
            "policy": policy_text,
            "policy_digest": "sha256:" + hashlib.sha256(policy_text.encode()).hexdigest(),
            "judged_at": now,
        },
    }
