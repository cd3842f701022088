"""Open a bundle and let it prove itself: read, audit, open, then answer its own examples."""

from pathlib import Path

from shipway import bundle
from shipway.bundle.examples import differs
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
        prove(runtime, bundle.examples(audited))
    except BaseException:
        runtime.close()
        raise
    return runtime


def prove(runtime: bundle.Runtime, examples: bundle.Examples) -> None:
    """Run the examples that came with a bundle, a few times, and compare with what it answered when packed.

    Raises:
        Broken: it raises, answers nothing sound, or answers something else.
    """
    if not examples.rows:
        return
    name, signature = runtime.manifest.model, runtime.manifest.signature
    try:
        columns = bundle.coerce(signature, examples.rows)
        outputs = runtime.predict(columns)
        for _ in range(WARM_RUNS):
            runtime.predict({k: v[:1] for k, v in columns.items()})
        wrong = fault(signature, outputs, len(examples.rows))
    except Exception as exc:
        raise Broken(
            f"{name} fails on its own examples: {exc}", fix="pack it again, or deploy another version"
        ) from exc
    if not wrong and examples.outputs and differs(examples.outputs, bundle.records(signature, outputs), TOLERANCE):
        wrong = "they are not what it answered when it was packed"
    if wrong:
        raise Broken(
            f"{name} does not answer its own examples: {wrong}", fix="pack it again, or deploy another version"
        )
