import os
import socket

import msgspec
import pytest
import rfc8785

from shipway import bundle
from shipway.errors import Missing, Rejected, Tampered

FILES = (
    "model/model.onnx", "model/encoding.json", "reference/profile.json", "reference/rows.parquet",
    "reference/examples.json", "sbom.cdx.json",
)  # fmt: skip


def rewrite(folder, **changes):
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    manifest |= changes
    (folder / "manifest.json").write_bytes(rfc8785.dumps(manifest))


def test_a_sound_bundle_is_read_audited_opened_and_answers_its_examples(packed):
    audited = bundle.audit(bundle.read(packed.folder), packed.digest)
    runtime = bundle.open(audited, bundle.DEFAULT)
    known = bundle.examples(audited)

    answered = bundle.records(
        audited.manifest.signature, runtime.predict(bundle.coerce(audited.manifest.signature, known.rows))
    )

    assert known.rows
    assert answered == known.outputs


@pytest.mark.parametrize("path", FILES)
def test_one_changed_bit_in_any_file_is_refused(folder, path):
    data = bytearray((folder / path).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / path).write_bytes(data)

    with pytest.raises(Tampered, match=path):
        bundle.audit(bundle.read(folder))


def test_one_changed_byte_of_the_manifest_changes_the_digest_and_is_refused(folder, packed):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"churn"', '"chorn"'))

    with pytest.raises(Tampered, match="its digest is"):
        bundle.audit(bundle.read(folder), packed.digest)


def test_all_findings_are_named_at_once(folder):
    (folder / "model/model.onnx").write_bytes(b"other")
    (folder / "sbom.cdx.json").unlink()
    (folder / "reference/extra.txt").write_text("x")
    (folder / "hosts").symlink_to("/etc/hosts")

    with pytest.raises(Tampered) as caught:
        bundle.audit(bundle.read(folder))

    for finding in (
        "model/model.onnx has 5 bytes",
        "sbom.cdx.json is missing",
        "reference/extra.txt was added",
        "hosts is a link",
    ):
        assert finding in str(caught.value)


def test_a_file_replaced_by_a_link_to_the_same_bytes_is_refused(folder, tmp_path):
    original = folder / "model/model.onnx"
    original.rename(tmp_path / "elsewhere.onnx")
    original.symlink_to(tmp_path / "elsewhere.onnx")

    with pytest.raises(Tampered, match="is a link"):
        bundle.audit(bundle.read(folder))


def test_a_linked_folder_is_refused(folder, tmp_path):
    (folder / "model").rename(tmp_path / "model")
    (folder / "model").symlink_to(tmp_path / "model")

    with pytest.raises(Tampered, match="model is a link"):
        bundle.audit(bundle.read(folder))


def test_a_pipe_or_socket_in_the_folder_is_refused_without_reading_it(folder, monkeypatch):
    os.mkfifo(folder / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(folder)
    listener.bind("door")
    listener.close()

    with pytest.raises(Tampered, match="door is a special file; pipe is a special file"):
        bundle.audit(bundle.read(folder))


def test_a_manifest_that_is_a_link_is_no_bundle(folder, tmp_path):
    (folder / "manifest.json").rename(tmp_path / "manifest.json")
    (folder / "manifest.json").symlink_to(tmp_path / "manifest.json")

    with pytest.raises(Missing):
        bundle.read(folder)


def test_a_file_swapped_between_audit_and_open_is_refused(folder):
    audited = bundle.audit(bundle.read(folder))
    data = (folder / "model/model.onnx").read_bytes()
    (folder / "model/model.onnx").write_bytes(data[:-1] + b"\x00")

    with pytest.raises(Tampered, match="changed after it was audited"):
        bundle.open(audited, bundle.DEFAULT)


@pytest.mark.parametrize(
    "path",
    ["../outside", "/etc/passwd", "a//b", "./a", "a\\b", "C:evil", "nul\0", "manifest.json", "a/../b", "", "tab\t"],
)
def test_a_path_that_is_not_plain_is_refused_before_it_is_opened(folder, path):
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    manifest["files"].append({"path": path, "sha256": "0" * 64, "size": 1, "media_type": "text/plain"})
    rewrite(folder, files=manifest["files"])

    with pytest.raises((Rejected, Tampered), match=r"path|itself"):
        bundle.audit(bundle.read(folder))


def test_two_paths_that_differ_in_case_alone_are_refused(folder):
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    manifest["files"].append(manifest["files"][0] | {"path": manifest["files"][0]["path"].upper()})
    rewrite(folder, files=manifest["files"])

    with pytest.raises((Rejected, Tampered), match="one on some file systems"):
        bundle.audit(bundle.read(folder))


def test_an_unknown_runtime_is_refused_unless_the_caller_knows_it(folder):
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    rewrite(folder, runtime=manifest["runtime"] | {"kind": "quantum"})

    with pytest.raises(Rejected, match="'quantum' is unknown"):
        bundle.audit(bundle.read(folder))
    audited = bundle.audit(bundle.read(folder), kinds=["quantum"])
    with pytest.raises(Rejected, match="no runtime 'quantum' here"):
        bundle.open(audited, bundle.DEFAULT)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "model": 7}', '{"format": "x"}', "\xff"]
)
def test_a_manifest_that_is_none_is_rejected_in_one_sentence(folder, text):
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))

    with pytest.raises(Rejected, match="cannot be read"):
        bundle.read(folder)


def test_a_bundle_of_a_later_format_names_the_way_out(folder):
    rewrite(folder, format=7)

    with pytest.raises(Rejected, match="format 7") as caught:
        bundle.read(folder)

    assert "upgrade" in caught.value.fix


def test_a_folder_without_manifest_is_missing_not_broken(tmp_path):
    with pytest.raises(Missing, match="not a bundle"):
        bundle.read(tmp_path)
