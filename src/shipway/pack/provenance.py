"""Say where a bundle comes from: the commit, the data, when; and list its parts for scanners."""

import hashlib
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from shipway.terms import FORMAT


def provenance(
    given: dict[str, Any] | None, data: pa.Table, holdout: pa.Table | None, *, parent: str, now: float
) -> dict[str, Any]:
    """Put the provenance of a bundle together; what the caller gave wins.

    Args:
        given: of the caller, e.g. {"command": ..., "seed": ..., "git": {...}}.
        data: training rows.
        holdout: rows held out, or None.
        parent: digest of the version this one comes from, or "".
        now: Unix seconds.
    """
    found: dict[str, Any] = {
        "packed_at": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "data": described(data),
    }
    if holdout is not None:
        found["holdout"] = described(holdout)
    if parent:
        found["parent"] = parent
    if "git" not in (given or {}):
        commit = git(Path.cwd())
        if commit:
            found["git"] = commit
    return found | (given or {})


def described(table: pa.Table) -> dict[str, Any]:
    """Return rows, columns and a digest of a table's content; the same for the same cells, however they are chunked."""
    whole = table.replace_schema_metadata(None).combine_chunks()
    sink = HashSink()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), whole.schema) as writer:
        writer.write_table(whole, max_chunksize=65_536)
    return {"rows": table.num_rows, "columns": table.num_columns, "sha256": sink.digest.hexdigest()}


class HashSink:
    """A file that keeps only the sha256 of what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def git(folder: Path) -> dict[str, Any]:
    """Return commit and dirtiness of the repository around a folder; {} if there is none, or no git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "dirty": bool(changed)}


def _git(folder: Path, *arguments: str) -> str:
    asked = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603 - fixed arguments
    return done.stdout.strip()


def sbom(name: str, model_sha256: str, environment: dict[str, Any], *, now: float) -> dict[str, Any]:
    """Describe the model and the packages it was made with, as CycloneDX 1.6.

    Source:
        OWASP CycloneDX 1.6 (ECMA-424), component type `machine-learning-model`.
    """
    packages = environment["packages"]
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{p['name']}@{p['version']}",
            "name": p["name"],
            "version": p["version"],
            "purl": f"pkg:pypi/{p['name']}@{p['version']}",
        }
        for p in packages
    ]
    model = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{name}",
        "name": name,
        "version": model_sha256[:12],
        "hashes": [{"alg": "SHA-256", "content": model_sha256}],
    }
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{name}:{model_sha256}:{moment}')}",
        "version": FORMAT,
        "metadata": {"timestamp": moment, "component": model},
        "components": components,
        "dependencies": [{"ref": model["bom-ref"], "dependsOn": [c["bom-ref"] for c in components]}],
    }
