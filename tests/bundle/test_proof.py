import subprocess
import sys

import msgspec
import pytest

from shipway.errors import Broken
from shipway.pack.writing import canonical, file_entries, prove_apart


def rewrite_examples(folder, change):
    """Change the examples of a bundle and make its manifest agree."""
    path = folder / "reference/examples.json"
    examples = msgspec.json.decode(path.read_bytes())
    change(examples)
    path.write_bytes(canonical(examples))
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    entry = msgspec.to_builtins(file_entries({"reference/examples.json": path.read_bytes()})[0])
    manifest["files"] = [entry if f["path"] == entry["path"] else f for f in manifest["files"]]
    (folder / "manifest.json").write_bytes(canonical(manifest))


def test_a_sound_bundle_proves_itself_in_a_fresh_process(folder):
    prove_apart(folder)


def test_a_bundle_that_answers_otherwise_than_it_promised_does_not(folder):
    def change(examples):
        examples["outputs"][3]["probability"]["yes"] += 1e-6

    rewrite_examples(folder, change)

    with pytest.raises(Broken, match="its answers to its examples are others"):
        prove_apart(folder)


def test_a_tampered_bundle_does_not(folder):
    (folder / "model/model.onnx").write_bytes(b"x")

    done = subprocess.run(
        [sys.executable, "-m", "shipway.bundle.proof", str(folder)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "is not what was packed" in done.stderr
