"""Take in the bundle that a training left: find it, audit and keep it, let the gate judge it."""

from pathlib import Path
from typing import Any

from shipway import bundle, gate
from shipway.bundle import BundleStore
from shipway.errors import Rejected


def accept(out: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Keep the bundle in `out` and judge it beside the champion.

    Args:
        out: folder that the command was told to leave a packed bundle in.
        job: what the parent wrote for this training.

    Returns:
        What the parent needs to register it: digest, verdict, the gate's sentence and statement.

    Raises:
        Rejected: there is no bundle, or it is one of another model or question.
        Tampered: it is not what its manifest says.
    """
    folder = find(out)
    store = BundleStore(Path(job["bundles"]))
    manifest = bundle.read(folder).manifest
    if manifest.model != job["model"]:
        raise Rejected(
            f"the training left a bundle of model {manifest.model!r}, and this endpoint serves {job['model']!r}",
            fix="pack it under that name: it is in {model} and SHIPWAY_MODEL",
        )
    digest = store.add(folder)
    judgement, statement = gate.run(store.path(digest), store.path(job["champion"]), job["gate"], now=job["now"])
    return {
        "ok": True,
        "digest": digest,
        "verdict": str(judgement.verdict),
        "sentence": judgement.sentence,
        "statement": statement,
    }


def find(out: Path) -> Path:
    """Return the one bundle folder in `out`: itself or a folder inside.

    Raises:
        Rejected: there is none, or more than one.
    """
    found = sorted(path.parent for path in out.rglob("manifest.json") if len(path.relative_to(out).parts) <= 3)
    if len(found) == 1:
        return found[0]
    said = "no bundle" if not found else f"{len(found)} bundles"
    raise Rejected(
        f"the training ended well but left {said} in its output folder",
        fix="let it pack one with `shipway pack ... --out $SHIPWAY_OUT` or pack.pack(out=...)",
    )
