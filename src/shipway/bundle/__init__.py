"""Take a packaged model from a folder to an answer, in three steps that cannot be skipped.

`read` parses the manifest and runs nothing. `audit` hashes every file and lists everything that is
wrong, all at once. `open` constructs a `Runtime`, whose `predict` takes columns and gives columns;
it loads only bytes that were hashed. Each step takes the type that the step before it returned, so
an unaudited bundle cannot be opened by mistake.

    read(folder) -> ReadBundle      audit(read) -> AuditedBundle      open(audited, DEFAULT) -> Runtime

`BundleStore` keeps bundles in a folder by digest. `coerce` turns JSON records into columns and `check`
approves columns that came as such; both refuse what the signature does not promise.

This room is on the serving path: numpy, msgspec, orjson and onnxruntime are all it imports.
Not here: making a bundle (see `shipway.pack`).
"""

from shipway.bundle.columns import check, coerce, records
from shipway.bundle.examples import Examples, examples
from shipway.bundle.runtime import DEFAULT, Loader, Runtime
from shipway.bundle.stages import AuditedBundle, ReadBundle, audit, read
from shipway.bundle.stages import open_bundle as open  # noqa: A004 - `bundle.open` says it best
from shipway.bundle.store import BundleStore

__all__ = [
    "DEFAULT",
    "AuditedBundle",
    "BundleStore",
    "Examples",
    "Loader",
    "ReadBundle",
    "Runtime",
    "audit",
    "check",
    "coerce",
    "examples",
    "open",
    "read",
    "records",
]
