"""Open a bundle and let it prove itself: read, audit, open, then answer its own examples."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from shipway import bundle
from shipway.errors import Broken
from shipway.serve.engine.sound import fault

WARM_RUNS = 3
TOLERANCE = 1e-3


def open_bundle(folder: Path, digest: str) -> bundle.Runtime:
    """Open a bundle that is ready to answer.

    Raises:
        Tampered: the bytes are not what the digest names.
        Rejected: the bundle is not one, or nothing here runs it.
        Broken: it does not answer its own examples.
    """
    audited = bundle.audit(bundle.read(folder), expected=digest)
    runtime = bundle.open(audited, bundle.DEFAULT)
    try:
        prove(runtime, folder)
    except BaseException:
        runtime.close()
        raise
    return runtime


def prove(runtime: bundle.Runtime, folder: Path) -> None:
    """Run the examples that came with a bundle, a few times, and compare with what it answered when packed.

    Raises:
        Broken: it raises, answers nothing sound, or answers something else.
    """
    path = folder / "reference" / "examples.json"
    if not path.exists():
        return
    examples = json.loads(path.read_bytes())
    rows = examples.get("rows") or []
    if not rows:
        return
    manifest = runtime.manifest
    name = manifest.model
    columns = bundle.coerce(manifest.signature, rows)
    try:
        for _ in range(WARM_RUNS):
            outputs = runtime.predict(columns)
            runtime.predict({k: v[:1] for k, v in columns.items()})
    except Exception as exc:
        raise Broken(f"{name} fails on its own examples: {exc}", fix="pack it again, or deploy another version") from exc
    wrong = fault(manifest.signature, outputs, len(rows)) or _difference(outputs, examples.get("outputs") or {})
    if wrong:
        raise Broken(f"{name} does not answer its own examples: {wrong}", fix="pack it again, or deploy another version")


def _difference(outputs: dict[str, np.ndarray[Any, Any]], expected: dict[str, list[Any]]) -> str:
    for name, wanted in expected.items():
        got = outputs.get(name)
        if got is None or len(got) != len(wanted):
            return f"the output {name!r} has another length"
        if got.dtype.kind == "f" and not np.allclose(got, np.array(wanted, got.dtype), TOLERANCE, TOLERANCE):
            return f"the output {name!r} differs from what was packed"
    return ""
