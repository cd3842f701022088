"""Make a bundle from a trained model: understand it, convert it, compare, describe, write."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shipway import terms
from shipway.bundle.columns import records
from shipway.bundle.encoding import Encoding, encode
from shipway.bundle.examples import PATH as EXAMPLES
from shipway.bundle.examples import Examples
from shipway.bundle.runtime import NATIVE, Runtime
from shipway.errors import Rejected
from shipway.pack import environment as environments
from shipway.pack.attempts import Packer
from shipway.pack.choosing import Won, choose
from shipway.pack.features import Unsupported
from shipway.pack.native import Graphed
from shipway.pack.native import convert as convert_native
from shipway.pack.onnxfile import has_branches
from shipway.pack.original import Original
from shipway.pack.parity import head
from shipway.pack.provenance import provenance as where_from
from shipway.pack.provenance import sbom
from shipway.pack.report import Report
from shipway.pack.subject import Data, Subject, as_table, understand
from shipway.pack.writing import canonical, file_entries, parquet, prove_apart, write
from shipway.stats.profile import flatten, make_reference
from shipway.terms import FORMAT, Column, Manifest, RuntimeSpec, Signature, Task

Columns = dict[str, NDArray[Any]]
Progress = Callable[[str], None]
PROFILE_ROWS, KEPT_ROWS, EXAMPLE_ROWS = 50_000, 5_000, 16
INLINE_US = 1000.0
_BATCH = 8192


@dataclass(frozen=True)
class Packed:
    """A finished bundle."""

    folder: Path
    digest: str
    manifest: Manifest
    report: Report


@dataclass(frozen=True)
class Converted:
    """A model as a graph over the matrix X, and how columns become X."""

    graph: bytes
    encoding: Encoding
    signature: Signature
    task: Task

    def position(self, column: str) -> int:
        """Return the place in X of an input column of numbers.

        Raises:
            Rejected: the graph does not see the column as a number.
        """
        return self.encoding.position(column)


def convert(model: Any, data: Data, *, target: str | None = None, task: Task | None = None) -> Converted:  # noqa: ANN401 - any fitted model
    """Convert a fitted model with the double-precision converter, and nothing more.

    Args:
        model: a fitted scikit-learn or LightGBM model.
        data: rows like those it was trained on.
        target: name of the target column among them.
        task: what it predicts, if the model does not say.

    Raises:
        Rejected: it is not of a kind that this converter reads.
    """
    subject = understand(model, data, target, task=task)
    if not isinstance(subject.oracle, Original):
        raise Rejected("an ONNX graph is converted already", fix="pack it as it is")
    try:
        made: Graphed = convert_native(subject.oracle, subject.levels)
    except Unsupported as exc:
        raise Rejected(
            f"{subject.name} cannot be converted in double: {exc}", fix="use pack, which tries other converters"
        ) from exc
    return Converted(made.graph, made.encoding, subject.signature, subject.task)


def pack(  # noqa: PLR0913 - the front door: everything a bundle can be told
    model: Any,  # noqa: ANN401 - any fitted model, an OnnxModel, ONNX bytes or a path to them
    *,
    name: str,
    data: Data,
    target: str | None,
    out: Path,
    now: float,
    holdout: Data | None = None,
    task: Task | None = None,
    provenance: dict[str, Any] | None = None,
    parent: str = "",
    description: str = "",
    metrics: dict[str, Any] | None = None,
    prefer: Literal["onnx", "lightgbm"] = "onnx",
    cost_us: dict[str, float] | None = None,
    converters: Mapping[str, Packer] | None = None,
    progress: Progress | None = None,
) -> Packed:
    """Make a bundle from a trained model.

    The model is converted to the first form whose answers equal the original's on real rows and edge rows;
    where none does, nothing is written.

    Args:
        model: a fitted scikit-learn estimator or pipeline, a LightGBM model, or an ONNX graph.
        name: of the model in the registry.
        data: training rows, for signature and reference.
        target: column of the truth among them, or None.
        out: folder to write; a bundle already there is replaced.
        now: Unix seconds.
        holdout: rows the model has not seen, for the comparison and for the gate; `data` if there are none.
        task: what the model predicts, where that is not plain.
        provenance: what the caller knows: command, seed, git, ...
        parent: digest of the version this one replaces.
        description: a sentence for people.
        metrics: measured elsewhere, kept in the manifest as they are.
        prefer: `lightgbm` runs LightGBM models on its own C library, which must then be installed where they serve.
        cost_us: speed known from an earlier run; with it the same input gives the same digest. Measured if None.
        converters: more converters, tried last, by name.
        progress: called with a few words as each part begins.

    Raises:
        Rejected: model and data do not fit, or no conversion equals the original.
        Broken: the finished bundle does not answer in a fresh process as it did here.
    """
    say = progress or (lambda words: None)  # noqa: ARG005
    terms.name(name, "model")
    say("reading model and data")
    subject = understand(model, data, target, holdout=holdout, task=task, prefer=prefer, plugins=converters)
    say("converting")
    won = choose(subject, name, say)
    say("measuring")
    cost = cost_us or _cost(won.runtime, subject.holdout)
    branches = won.candidate.kind == "onnx" and has_branches(won.candidate.content)
    inline = won.candidate.kind in NATIVE and cost.get("1", np.inf) < INLINE_US and not branches
    say("describing")
    environment = environments.environment(subject.model, won.candidate.converter)
    contents, entry, options = _contents(subject, won, name, environment, now)
    manifest = Manifest(
        format=FORMAT,
        model=name,
        task=subject.task,
        signature=subject.signature,
        runtime=RuntimeSpec(won.candidate.kind, entry, options, cost, inline),
        files=file_entries(contents),
        environment=environment,
        provenance=where_from(
            provenance,
            as_table(data, "the data"),
            None if holdout is None else as_table(holdout, "the holdout"),
            parent=parent,
            now=now,
        ),
        parity=_parity(subject, won),
        metrics=metrics or {},
        description=description,
    )
    digest = write(Path(out), manifest, contents)
    won.runtime.close()
    say("proving")
    prove_apart(Path(out))
    return Packed(Path(out), digest, manifest, _report(subject, won, manifest))


def _cost(runtime: Runtime, columns: Columns) -> dict[str, float]:
    """Measure microseconds for 1 and 64 rows: the best of a few short runs."""
    rows = len(next(iter(columns.values())))
    found = {}
    for size in (1, 64):
        part = {name: values[np.arange(size) % rows] for name, values in columns.items()}
        found[str(size)] = round(_fastest(lambda part=part: runtime.predict(part)), 1)  # type: ignore[misc]
    return found


def _fastest(call: Callable[[], Any], budget_s: float = 0.05) -> float:
    call()
    best, spent = np.inf, 0.0
    while spent < budget_s:
        began = time.perf_counter()
        call()
        took = time.perf_counter() - began
        best, spent = min(best, took), spent + took
    return float(best) * 1e6


def _contents(
    subject: Subject, won: Won, name: str, environment: dict[str, Any], now: float
) -> tuple[dict[str, bytes], str, dict[str, Any]]:
    """Return the bundle's files, the path of the model among them, and the runtime's options."""
    candidate = won.candidate
    entry = "model/model.onnx" if candidate.kind == "onnx" else f"model/model.{candidate.kind}.txt"
    contents, options = {entry: candidate.content}, dict(candidate.options)
    if candidate.encoding is not None:
        options["encoding"] = "model/encoding.json"
        contents["model/encoding.json"] = encode(candidate.encoding)
    seen = head(subject.data, PROFILE_ROWS)
    profile = make_reference(subject.signature, flatten(subject.signature, seen, _answers(won.runtime, seen)))
    contents["reference/profile.json"] = msgspec.json.encode(profile)
    kept, truth = _kept(subject)
    answered = _answers(won.runtime, kept)
    contents["reference/rows.parquet"] = parquet(_rows(kept, truth, answered))
    shown = head(kept, EXAMPLE_ROWS)
    examples = Examples(
        _records(subject.signature.inputs, shown), records(subject.signature, _answers(won.runtime, shown))
    )
    contents[EXAMPLES] = canonical(examples)
    model_sha256 = file_entries({entry: candidate.content})[0].sha256
    contents["sbom.cdx.json"] = canonical(sbom(name, model_sha256, environment, now=now))
    return contents, entry, options


def _answers(runtime: Runtime, columns: Columns) -> Columns:
    rows = len(next(iter(columns.values())))
    parts = [runtime.predict({k: v[at : at + _BATCH] for k, v in columns.items()}) for at in range(0, rows, _BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _kept(subject: Subject) -> tuple[Columns, pa.Array | None]:
    rows = len(next(iter(subject.holdout.values())))
    chosen = np.arange(rows) if rows <= KEPT_ROWS else np.linspace(0, rows - 1, KEPT_ROWS).round().astype(np.intp)
    truth = None if subject.truth is None else subject.truth.take(pa.array(chosen))
    return {name: values[chosen] for name, values in subject.holdout.items()}, truth


def _rows(kept: Columns, truth: pa.Array | None, answered: Columns) -> pa.Table:
    made = {name: _arrow(values) for name, values in kept.items()}
    if truth is not None:
        made["__target__"] = truth
    return pa.table(made | {f"__{name}__": _arrow(values) for name, values in answered.items()})


def _arrow(values: NDArray[Any]) -> pa.Array:
    if values.ndim > 1:
        return pa.array(values.tolist())
    return pa.array(values, pa.string()) if values.dtype == object else pa.array(values, from_pandas=True)


def _records(specs: tuple[Column, ...], columns: Columns) -> list[dict[str, Any]]:
    """Write rows as JSON-ready records: null where missing, whole numbers without a point."""
    listed = {s.name: [_plain(v, whole=s.integral) for v in columns[s.name].tolist()] for s in specs}
    return [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]


def _plain(value: Any, *, whole: bool) -> Any:  # noqa: ANN401 - any cell
    if isinstance(value, float):
        if not np.isfinite(value):
            return None
        return int(value) if whole and value.is_integer() else value
    return value


def _parity(subject: Subject, won: Won) -> dict[str, Any]:
    itself = subject.model is None
    found: dict[str, Any] = {
        "compared_with": "itself: the graph was given, there was no original"
        if itself
        else f"the original {subject.name}",
        "converter": won.candidate.converter,
        "notes": [*subject.notes, *won.candidate.notes],
        "refused": [f"{a.converter}: {a.detail}" for a in won.attempts if not a.accepted],
        "versions": environments.versions(("onnx", "onnxruntime", "skl2onnx", "scikit-learn", "lightgbm", "numpy")),
    }
    return dataclasses.asdict(won.parity) | found


def _report(subject: Subject, won: Won, manifest: Manifest) -> Report:
    native = None
    if subject.model is not None:
        one = {name: values[:1] for name, values in subject.holdout.items()}
        native = round(_fastest(lambda: subject.oracle.answer(one), 0.02), 1)
    return Report(
        model=subject.name,
        converter=won.candidate.converter,
        runtime=won.candidate.kind,
        parity=won.parity.sentence(),
        attempts=won.attempts,
        rows=len(next(iter(subject.data.values()))),
        inputs=len(subject.signature.inputs),
        files=len(manifest.files),
        size_bytes=sum(f.size for f in manifest.files),
        cost_us=manifest.runtime.cost_us,
        original_us=native,
        inline=manifest.runtime.inline,
        notes=(*subject.notes, *won.candidate.notes),
    )
