"""Open a bundle in a process of its own and compare its answers with its examples.

`python -m shipway.bundle.proof FOLDER`.

Exit status 0 if it answers as it did when packed. The last line on standard error says why not.
"""

import sys
from pathlib import Path

from shipway.bundle.columns import coerce, records
from shipway.bundle.examples import differs, examples
from shipway.bundle.runtime import DEFAULT
from shipway.bundle.stages import audit, open_bundle, read
from shipway.errors import Broken, ShipwayError

TRAINING = ("pandas", "pyarrow", "sklearn", "onnx", "lightgbm", "scipy")


def prove(folder: Path) -> None:
    """Open a bundle and compare.

    Raises:
        ShipwayError: it is not a sound bundle, or does not answer its examples.
    """
    audited = audit(read(folder))
    runtime = open_bundle(audited, DEFAULT)
    known = examples(audited)
    if known.rows:
        signature = audited.manifest.signature
        answered = records(signature, runtime.predict(coerce(signature, known.rows)))
        if differs(known.outputs, answered, 1e-9):
            raise Broken("its answers to its examples are others than when it was packed", fix="pack it again")
    runtime.close()
    loaded = [name for name in TRAINING if name in sys.modules]
    if loaded:
        raise Broken(f"serving it loaded {', '.join(loaded)}", fix="report this")


if __name__ == "__main__":
    try:
        prove(Path(sys.argv[1]))
    except ShipwayError as error:
        sys.exit(str(error))
