"""Write a bundle: its files, then the manifest that names them, then the folder as a whole by one rename."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import rfc8785

from shipway.bundle.stages import MANIFEST
from shipway.errors import Broken, Rejected
from shipway.terms import File, Manifest

_MEDIA_TYPES = {
    ".onnx": "application/onnx", ".json": "application/json", ".parquet": "application/vnd.apache.parquet",
    ".txt": "text/plain", ".lgb": "text/plain",
}  # fmt: skip


def canonical(value: Any) -> bytes:  # noqa: ANN401 - anything msgspec can encode
    """Write a value as RFC 8785 canonical JSON."""
    return bytes(rfc8785.dumps(msgspec.to_builtins(value)))


def file_entries(contents: Mapping[str, bytes]) -> tuple[File, ...]:
    """Describe the files of a bundle, sorted by path."""
    return tuple(
        File(path, hashlib.sha256(data).hexdigest(), len(data), _media_type(path))
        for path, data in sorted(contents.items())
    )


def _media_type(path: str) -> str:
    if path.endswith(".cdx.json"):
        return "application/vnd.cyclonedx+json"
    return _MEDIA_TYPES.get(Path(path).suffix, "application/octet-stream")


def parquet(table: pa.Table) -> bytes:
    """Write a table as Parquet, the same bytes for the same table."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def write(out: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> str:
    """Write a bundle folder and return its digest.

    Raises:
        Rejected: `out` exists and is not a bundle.
    """
    if out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise Rejected(f"{out} exists and is not a bundle", fix="give another folder with `--out`, or delete that one")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        written = canonical(manifest)
        for path, data in {**contents, MANIFEST: written}.items():
            place = beside / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        beside.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return "sha256:" + hashlib.sha256(written).hexdigest()


def prove_apart(folder: Path) -> None:
    """Open a bundle in a fresh process that holds the data plane alone, and compare its answers to the examples.

    The process has no locale and none of this one's environment, as in a minimal image.

    Raises:
        Broken: it does not answer there as it did here.
    """
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "shipway.bundle.proof", str(folder.absolute())],
        env={"LC_ALL": "C", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Broken(
            f"the bundle does not answer in a fresh process as it did when packing: {reason[:300]}",
            fix="report this model; it was not packed",
        )
