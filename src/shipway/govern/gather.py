"""Turn what is known about a version into claims: measured where something measured it, else attested or absent.

Nothing is inferred and nothing is filled in. Where a fact is not in the manifest, the evidence, the
monitor or the ledger, the claim is absent and says what would fill it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from shipway.govern import serving
from shipway.govern.claims import Card, Claim, Section
from shipway.govern.serving import Place
from shipway.govern.wording import change, dataset, figure, listed, measured, metric_name, number, plural, thousands
from shipway.ledger import Entry
from shipway.terms import Column, Manifest, Task

TASKS = {
    Task.BINARY: "answers one of two classes",
    Task.MULTICLASS: "answers one of {} classes",
    Task.REGRESSION: "answers a number",
    Task.OTHER: "answers tensors of its own",
}
BUNDLE = "manifest of the bundle"
RECORDED = "recorded when packing"


def card(  # noqa: PLR0913 - what may be known of a version, all but the first two optional
    manifest: Manifest,
    digest: str,
    evidence: Sequence[Mapping[str, Any]] = (),
    monitor: Mapping[str, Any] | None = None,
    ledger: Sequence[Entry | Mapping[str, Any]] = (),
    *,
    version: int = 0,
    places: Sequence[Place] | None = None,
) -> Card:
    """Gather everything that is known about one version into a card.

    Args:
        manifest: of its bundle.
        digest: of its manifest; what every claim of the bundle is checked against.
        evidence: statements attached to the digest, newest first, as in-toto statements or as rows that
            hold one under `statement`.
        monitor: the summary that the monitor keeps for pages, None where nothing is watched.
        ledger: entries about this version, oldest first.
        version: its number in the registry.
        places: where it runs now; None where that is not known, as from a bundle alone.
    """
    statements = [_statement(row) for row in evidence]
    entries = [_entry(row) for row in ledger]
    sections = (
        ("What it is", _identity(manifest, digest)),
        ("What it is for", _use(manifest, statements)),
        ("Data", _data(manifest, digest)),
        ("How it was made", _making(manifest, digest)),
        ("How good it is", _performance(manifest, digest, statements)),
        ("Whether conversion changed it", _parity(manifest, digest)),
        ("What the gate said", _gate(statements)),
        ("Limits", _limits(manifest, digest)),
        ("How it does now", [*serving.running(places), *serving.monitoring(monitor, places)]),
        ("Where it comes from and where it went", _lineage(manifest, digest, entries)),
        ("Licence", _licence(manifest)),
    )
    return Card(manifest.model, version, digest, tuple(Section(title, tuple(claims)) for title, claims in sections))


def _statement(row: Mapping[str, Any]) -> dict[str, Any]:
    inner = row.get("statement", row)
    made: dict[str, Any] = msgspec.json.decode(inner) if isinstance(inner, str | bytes) else dict(inner)
    return {"kind": row.get("kind", ""), "id": row.get("id", ""), "at": row.get("created_at"), **made}


def _entry(row: Entry | Mapping[str, Any]) -> Entry:
    return row if isinstance(row, Entry) else msgspec.convert(row, Entry)


def _identity(manifest: Manifest, digest: str) -> list[Claim]:
    signature, runtime = manifest.signature, manifest.runtime
    said = TASKS[manifest.task].format(len(signature.classes))
    total = sum(file.size for file in manifest.files)
    claims = [
        Claim(
            "measured",
            f"A model named {manifest.model} that reads {len(signature.inputs)} columns and {said}.",
            BUNDLE,
            digest,
        ),
        Claim(
            "measured",
            f"It runs as {runtime.kind}: {len(manifest.files)} files of {thousands(total)} bytes, each with a digest.",
            BUNDLE,
            digest,
        ),
    ]
    if signature.classes:
        claims.append(Claim("measured", f"Its classes are {listed(signature.classes)}.", "signature", digest))
    if cost := runtime.cost_us.get("1"):
        claims.append(
            Claim("measured", f"One row took {number(cost)} µs where it was packed.", "timed when packing", digest)
        )
    return claims


def _use(manifest: Manifest, statements: Sequence[Mapping[str, Any]]) -> list[Claim]:
    who = str(manifest.provenance.get("who") or "whoever packed it")
    at = _when(manifest.provenance)
    claims = []
    if manifest.description.strip():
        claims.append(Claim("attested", manifest.description.strip(), "description given when packing", who=who, at=at))
    for statement in statements:
        if statement["kind"] == "attestation" or str(statement.get("predicateType", "")).startswith(
            "urn:shipway:attestation:"
        ):
            said = statement.get("predicate", {})
            if said.get("text") and said.get("by"):
                claims.append(
                    Claim(
                        "attested",
                        str(said["text"]),
                        "attestation",
                        str(statement["id"]),
                        str(said["by"]),
                        said.get("at") or statement["at"],
                    )
                )
    if not claims:
        claims.append(
            Claim("absent", "Nobody has said what this model is for.", "say it with --description when packing")
        )
    claims.append(
        Claim("absent", "Nobody has said what it must not be used for.", "an attestation by a person would fill this")
    )
    return claims


def _when(provenance: Mapping[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(str(provenance["packed_at"])).timestamp()
    except (KeyError, ValueError):
        return None


def _data(manifest: Manifest, digest: str) -> list[Claim]:
    provenance = manifest.provenance
    training, holdout = dataset(provenance.get("data")), dataset(provenance.get("holdout"))
    claims = []
    if training:
        claims.append(
            Claim("measured", f"Its reference was made from {training}.", "digest taken when packing", digest)
        )
    else:
        gap = "Which rows it was trained on is not recorded."
        claims.append(Claim("absent", gap, "pack it with its training rows"))
    if holdout:
        claims.append(Claim("measured", f"It was held against {holdout}.", "digest taken when packing", digest))
    else:
        gap = "No rows were held out when it was packed, so what it shows on its reference rows may flatter it."
        claims.append(Claim("absent", gap, "pack it with --holdout"))
    gap = "Whether these rows may be used for this purpose is not recorded."
    return [*claims, Claim("absent", gap, "consent or contract, attested by a person")]


def _making(manifest: Manifest, digest: str) -> list[Claim]:
    provenance, environment = manifest.provenance, manifest.environment
    return [
        _commit(provenance.get("git"), digest),
        *_command(provenance.get("command"), digest),
        _packages(environment, digest),
        _seed(provenance.get("seed"), digest),
    ]


def _commit(git: object, digest: str) -> Claim:
    if not isinstance(git, Mapping) or not git.get("commit"):
        gap = "The commit of the code that trained it is not recorded."
        return Claim("absent", gap, "pack it inside its git repository")
    state = "with changes that were not committed" if git.get("dirty") else "with nothing uncommitted"
    return Claim("measured", f"Packed at git commit {git['commit'][:12]}, {state}.", RECORDED, digest)


def _command(command: object, digest: str) -> list[Claim]:
    if not command:
        return []
    text = " ".join(map(str, command)) if isinstance(command, list | tuple) else str(command)
    return [Claim("measured", f"Packed by the command {text}.", RECORDED, digest)]


def _packages(environment: Mapping[str, Any], digest: str) -> Claim:
    packages, python = environment.get("packages"), environment.get("python")
    if not packages:
        gap = "The packages it was made with are not recorded."
        return Claim("absent", gap, "pack it in the environment that trained it")
    said = f"Packed under Python {python} with {len(packages)} packages, each with its version."
    return Claim("measured", said, "environment lock of the bundle", digest)


def _seed(seed: object, digest: str) -> Claim:
    if seed is None:
        gap = "The seed of the training is not recorded, so training again may give another model."
        return Claim("absent", gap, "name the seed in the provenance when packing")
    return Claim("measured", f"Trained with seed {seed}.", RECORDED, digest)


def _performance(manifest: Manifest, digest: str, statements: Sequence[Mapping[str, Any]]) -> list[Claim]:
    gates = [statement for statement in statements if _is_gate(statement)]
    claims = _judged(gates[0]) if gates else []
    if not claims:
        found = [(name, said) for name, value in manifest.metrics.items() if (said := measured(value))]
        claims = [Claim("measured", f"{metric_name(n)} {said}.", "given when packing", digest) for n, said in found]
    if not claims:
        gap = "How good it is has not been measured."
        claims.append(Claim("absent", gap, "pack it with holdout rows and their truth, and run the gate"))
    gap = "How good it is for parts of the data (slices) has not been measured."
    return [*claims, Claim("absent", gap, "a gate with slices would fill this")]


def _judged(statement: Mapping[str, Any]) -> list[Claim]:
    predicate, key = statement.get("predicate", {}), str(statement["id"])
    rows = predicate.get("rows")
    on = f" on {thousands(rows)} rows" if rows else ""
    claims = []
    for name, value in predicate.get("metrics", {}).items():
        if said := measured(value):
            claims.append(Claim("measured", f"{metric_name(name)} {said}{on}.", "gate", key))
    for name, value in predicate.get("champion", {}).items():
        if said := measured(value):
            text = f"The champion of that day on the same rows: {metric_name(name)} {said}."
            claims.append(Claim("measured", text, "gate", key))
    return claims


def _is_gate(statement: Mapping[str, Any]) -> bool:
    return statement["kind"] == "gate" or str(statement.get("predicateType", "")).startswith("urn:shipway:gate:")


def _parity(manifest: Manifest, digest: str) -> list[Claim]:
    parity = manifest.parity
    if "rows" not in parity or str(parity.get("compared_with", "")).startswith("itself"):
        gap = "It was not compared with a model it was made from: the graph was packed as it came."
        return [Claim("absent", gap, "pack it from the trained model")]
    changed, largest = parity.get("labels_changed", 0), parity.get("largest_difference", 0.0)
    said = (
        f"Its answers equal those of {parity.get('compared_with', 'the original')} on {thousands(parity['rows'])} rows "
        f"and {thousands(parity.get('edge_rows', 0))} edge rows: {plural(changed, 'label')} changed, largest "
        f"difference {number(largest)}, {number(parity.get('tolerance', 0.0))} tolerated."
    )
    source = f"parity check when packing, converter {parity.get('converter', 'unknown')}"
    claims = [Claim("measured", said, source, digest)]
    claims += [Claim("measured", f"Refused conversion: {why}.", source, digest) for why in parity.get("refused", ())]
    return claims


def _gate(statements: Sequence[Mapping[str, Any]]) -> list[Claim]:
    gates = [statement for statement in statements if _is_gate(statement)]
    if not gates:
        return [Claim("absent", "It has not been through a gate.", "run shipway gate")]
    statement = gates[0]
    predicate, key = statement.get("predicate", {}), str(statement["id"])
    source = f"gate under policy {str(predicate.get('policy_digest', ''))[:19]}…"
    at = predicate.get("judged_at") or statement["at"]
    verdict = f"The verdict is {predicate.get('verdict', 'unknown')}."
    claims = [Claim("measured", str(predicate.get("sentence") or verdict), source, key, at=at)]
    for check in predicate.get("checks", []):
        word = {"pass": "Passed", "fail": "Failed"}.get(check.get("verdict"), "Undecided")
        said = f"{word}: {check.get('sentence', check.get('kind', ''))}."
        claims.append(Claim("measured", said, source, key, at=at))
    return claims


def _limits(manifest: Manifest, digest: str) -> list[Claim]:
    inputs = manifest.signature.inputs
    ranges = [
        f"{c.name} from {figure(c.low, c)} to {figure(c.high, c)}"
        for c in inputs
        if c.low is not None and c.high is not None
    ]
    levels = [f"{c.name} ({len(c.levels)} values)" for c in inputs if c.levels]
    missing = [c.name for c in inputs if c.nullable]
    free = [c.name for c in inputs if _is_free(c)]
    claims = []
    if ranges:
        claims.append(
            Claim(
                "measured",
                f"Numbers seen in training: {listed(ranges, 6)}. Beyond them it extrapolates.",
                "signature",
                digest,
            )
        )
    if levels:
        claims.append(
            Claim(
                "measured",
                f"Known values of text columns: {listed(levels, 12)}. It was never asked about others.",
                "signature",
                digest,
            )
        )
    if free:
        claims.append(
            Claim("measured", f"Free text, whose values cannot be checked: {listed(free, 30)}.", "signature", digest)
        )
    said = (
        f"Cells may be missing in each of its {len(inputs)} columns."
        if len(missing) == len(inputs) > 1
        else f"Cells may be missing in {listed(missing, 12)}, and in no other column."
        if missing
        else "No cell may be missing."
    )
    claims.append(Claim("measured", said, "signature", digest))
    claims.append(
        Claim(
            "absent",
            "How it answers far outside its training data has not been tested.",
            "an out-of-domain test would fill this",
        )
    )
    return claims


def _is_free(column: Column) -> bool:
    return column.datatype == "BYTES" and not column.levels


def _lineage(manifest: Manifest, digest: str, entries: Sequence[Entry]) -> list[Claim]:
    parent = str(manifest.provenance.get("parent") or "")
    claims = []
    if parent:
        claims.append(Claim("measured", f"Made from version {parent[:19]}….", BUNDLE, digest))
    elif not any(entry.kind == "retrain.done" for entry in entries):
        gap = "No parent version is named: it is the first of its line, or its parent was not recorded."
        claims.append(Claim("absent", gap, "name the parent when packing"))
    claims += [
        Claim("measured", change(entry), f"ledger entry {entry.seq}", entry.hash, at=entry.at) for entry in entries
    ]
    if not entries:
        claims.append(Claim("absent", "The ledger has no entry about it.", "register it"))
    return claims


def _licence(manifest: Manifest) -> list[Claim]:
    licence = manifest.provenance.get("licence") or manifest.provenance.get("license")
    if licence:
        return [Claim("attested", f"Licence: {licence}.", "given when packing", who="whoever packed it")]
    return [
        Claim(
            "absent",
            "Under which licence the model may be used is not recorded.",
            "an attestation by its owner would fill this",
        )
    ]
