"""Commands on bundles: pack, inspect, verify, diff. None of them needs a server for a folder."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from shipway.cli.frame import PLATFORM, Answer, Session, command, group, table
from shipway.cli.subject import Subject, find, needs_files
from shipway.terms import Manifest, Task

app = group("Work with bundles.")

Bundle = Annotated[str, typer.Argument(metavar="BUNDLE", help="Bundle folder or REF.")]


@command(app, "pack")
def pack(  # noqa: PLR0913 - each is an option of the command
    session: Session,
    *,
    model: Annotated[
        Path, typer.Argument(help="Fitted model: .pkl or .joblib (scikit-learn, LightGBM), .txt (LightGBM), .onnx.")
    ],
    data: Annotated[Path, typer.Option(help="Training rows: CSV, Parquet or JSON lines.")],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    target: Annotated[str | None, typer.Option(help="Column with the truth.", show_default=False)] = None,
    holdout: Annotated[
        Path | None, typer.Option(help="Rows the model has not seen; by default the training rows.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write; by default the name.", show_default=False)] = None,
    task: Annotated[
        Task | None, typer.Option(help="What the model predicts, where that cannot be seen.", show_default=False)
    ] = None,
    description: Annotated[str, typer.Option(help="One sentence for people.")] = "",
    trust: Annotated[
        list[str] | None,
        typer.Option(help="Further class that a pickle may name, as package.module.Class.", show_default=False),
    ] = None,
) -> Answer:
    """Make a bundle: convert the model, compare it with the original on real rows, and write down what it is."""
    from shipway import pack as packing
    from shipway.wiring.platform import clock

    folder = out or Path(name)
    command = ["shipway", "pack", model, "--data", data, "--name", name]
    command += ["--target", target] if target else []
    command += ["--holdout", holdout] if holdout else []
    provenance = {"command": shlex.join(map(str, command))}
    with session.progress("reading") as tell:
        rows = packing.read_table(data)
        held = packing.read_table(holdout) if holdout else None
        fitted = packing.load_model(model, trust=tuple(trust or ()))
        packed = packing.pack(
            fitted, name=name, data=rows, target=target, out=folder, now=clock(), holdout=held, task=task,
            description=description, provenance=provenance, progress=lambda words: tell(words, 0.0),
        )  # fmt: skip
    value = {
        "folder": packed.folder,
        "digest": packed.digest,
        "model": name,
        "task": packed.manifest.task,
        "report": packed.report,
    }
    then = f"  next: shipway deploy {packed.folder} --endpoint {name}"
    return Answer(value, f"{_pairs(packed.report.table())}\n\n{packed.folder}  {packed.digest}\n{then}")


@command(app, "inspect", options=PLATFORM)
def inspect(session: Session, bundle: Bundle) -> Answer:
    """Show what a bundle or a version is: signature, runtime, parity, metrics, provenance. Nothing runs."""
    found = find(session, bundle)
    manifest = found.manifest
    value = {"named": found.named, "digest": found.digest, "manifest": manifest, "version": found.version or None}
    facts: list[tuple[str, object]] = [
        ("bundle", f"{found.named}  {found.digest}"),
        ("model", f"{manifest.model}, {manifest.task}"),
        ("runtime", f"{manifest.runtime.kind}, {_cost(manifest)}"),
        ("parity", _parity(manifest.parity)),
        ("provenance", _flat(manifest.provenance)),
        ("files", f"{len(manifest.files)}, {sum(file.size for file in manifest.files):,} bytes"),
    ]
    if found.version:
        gate, aliases = found.version["gate"] or "not judged", ", ".join(found.version["aliases"]) or "none"
        facts.insert(1, ("version", f"{found.version['version']}, gate {gate}, aliases {aliases}"))
    text = _pairs(facts)
    columns = [
        [column.name, column.datatype, _range(column), "yes" if column.nullable else "no"]
        for column in manifest.signature.inputs
    ]
    metrics = [[name, _figure(said)] for name, said in manifest.metrics.items()]
    parts = [
        text,
        table(["input", "type", "seen", "may be missing"], columns),
        table(["metric on the holdout", "value"], metrics) if metrics else "",
    ]
    return Answer(value, "\n\n".join(part for part in parts if part))


def _pairs(facts: Sequence[tuple[str, object]]) -> str:
    return "\n".join(f"{label:<13} {said}" for label, said in facts if said)


def _cost(manifest: Manifest) -> str:
    one = manifest.runtime.cost_us.get("1")
    return f"{one:.0f} us for one row" if one else "not measured"


def _parity(said: dict[str, Any]) -> str:
    if "largest_difference" not in said:
        return _flat(said)
    rows = f"{said.get('rows', 0):,} rows and {said.get('edge_rows', 0):,} edge rows"
    difference = f"largest difference {said['largest_difference']:.2g}, labels changed {said.get('labels_changed', 0)}"
    return f"with {said.get('compared_with', 'the original')} on {rows}: {difference}"


def _flat(said: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in said.items()
        if not isinstance(value, dict | list)
    )


def _range(column: Any) -> str:  # noqa: ANN401 - terms.Column
    if column.levels is not None:
        shown = ", ".join(column.levels[:4])
        return f"{shown}, ... ({len(column.levels)} levels)" if len(column.levels) > 4 else shown
    return f"{column.low:g} to {column.high:g}" if column.low is not None and column.high is not None else "any"


def _figure(said: Any) -> str:  # noqa: ANN401 - a metric as the manifest has it
    if isinstance(said, dict) and "value" in said:
        low, high = said.get("low"), said.get("high")
        return (
            f"{said['value']:.4g} ({low:.4g} to {high:.4g})"
            if low is not None and high is not None
            else f"{said['value']:.4g}"
        )
    return f"{said:.4g}" if isinstance(said, float) else str(said)


@command(app, "verify", options=PLATFORM)
def verify(
    session: Session,
    *,
    bundle: Bundle,
    digest: Annotated[str | None, typer.Option(help="Digest that it must have.", show_default=False)] = None,
) -> Answer:
    """Check every byte of a bundle against its manifest; lists everything wrong at once."""
    from shipway import bundle as bundles

    found = find(session, bundle)
    audited = bundles.audit(bundles.read(needs_files(found)), digest or found.digest)
    value = {"ok": True, "digest": audited.digest, "files": len(audited.manifest.files)}
    return Answer(value, f"{bundle} is what was packed: {len(audited.manifest.files)} files, {audited.digest}")


@command(app, "diff", options=PLATFORM)
def diff(session: Session, first: Bundle, second: Bundle) -> Answer:
    """Compare two bundles: signature, metrics, environment, files. Exit status 1 if they differ."""
    one, other = find(session, first), find(session, second)
    changes = differences(one, other)
    value = {"same": one.digest == other.digest, "first": one.digest, "second": other.digest, "changes": changes}
    if one.digest == other.digest:
        return Answer(value, f"{one.named} and {other.named} are the same bundle, {one.digest}")
    rows = [[room, what, before, after] for room, found in changes.items() for what, (before, after) in found.items()]
    said = (
        table(["room", "what", one.named, other.named], rows)
        if rows
        else "signature, metrics, environment and files are the same; provenance differs"
    )
    return Answer(value, said, 1)


def differences(one: Subject, other: Subject) -> dict[str, dict[str, tuple[str | None, str | None]]]:
    """List what differs: room -> what -> (in the first, in the second); None where it is absent."""
    rooms = {"signature": _columns, "metrics": _metrics, "environment": _packages, "files": _files}
    found = {}
    for room, facts in rooms.items():
        before, after = facts(one.manifest), facts(other.manifest)
        keys = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
        found[room] = {key: (before.get(key), after.get(key)) for key in keys}
    return {room: changed for room, changed in found.items() if changed}


def _columns(manifest: Manifest) -> dict[str, str]:
    shown = {
        f"input {c.name}": f"{c.datatype}{list(c.shape) or ''}{' or missing' if c.nullable else ''}, {_range(c)}"
        for c in manifest.signature.inputs
    }
    shown |= {f"output {c.name}": f"{c.datatype}{list(c.shape) or ''}" for c in manifest.signature.outputs}
    return shown | ({"classes": ", ".join(manifest.signature.classes)} if manifest.signature.classes else {})


def _metrics(manifest: Manifest) -> dict[str, str]:
    return {name: _figure(said) for name, said in manifest.metrics.items()}


def _packages(manifest: Manifest) -> dict[str, str]:
    shown: dict[str, str] = {}
    for key, said in manifest.environment.items():
        if key == "packages":
            shown |= _versions(said)
        elif isinstance(said, str | int | float):
            shown[key] = str(said)
    return shown


def _versions(packages: Any) -> dict[str, str]:  # noqa: ANN401 - a list of records, or name -> version
    if isinstance(packages, dict):
        return {
            name: str(said.get("version", said) if isinstance(said, dict) else said) for name, said in packages.items()
        }
    return {str(one.get("name")): str(one.get("version")) for one in packages}


def _files(manifest: Manifest) -> dict[str, str]:
    return {file.path: f"{file.size:,} bytes, sha256 {file.sha256[:12]}" for file in manifest.files}
