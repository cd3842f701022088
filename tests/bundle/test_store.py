import threading

import pytest

from shipway import bundle
from shipway.bundle import BundleStore
from shipway.errors import Missing, Rejected, Tampered


def test_what_was_added_is_found_under_its_digest_and_audits(packed, tmp_path):
    store = BundleStore(tmp_path / "bundles")

    digest = store.add(packed.folder)

    assert digest == packed.digest
    assert store.has(digest)
    assert store.digests() == [digest]
    assert bundle.audit(bundle.read(store.path(digest)), digest).digest == digest


def test_adding_again_changes_nothing(packed, tmp_path):
    store = BundleStore(tmp_path / "bundles")
    first = store.path(store.add(packed.folder)).stat()

    second = store.path(store.add(packed.folder)).stat()

    assert first.st_ino == second.st_ino


def test_a_tampered_bundle_is_never_added(folder, tmp_path):
    (folder / "model/model.onnx").write_bytes(b"other")
    store = BundleStore(tmp_path / "bundles")

    with pytest.raises(Tampered):
        store.add(folder)

    assert store.digests() == []


def test_a_stored_bundle_that_was_damaged_is_replaced_by_the_next_add(packed, tmp_path):
    store = BundleStore(tmp_path / "bundles")
    place = store.path(store.add(packed.folder))
    (place / "model/model.onnx").write_bytes(b"rot")

    store.add(packed.folder)

    assert bundle.audit(bundle.read(place), packed.digest)


def test_many_adders_at_once_leave_one_whole_bundle_and_nothing_else(packed, tmp_path):
    store = BundleStore(tmp_path / "bundles")
    adders = [threading.Thread(target=store.add, args=(packed.folder,)) for _ in range(6)]

    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()

    assert [p.name for p in store.folder.iterdir()] == [packed.digest.removeprefix("sha256:")]
    assert bundle.audit(bundle.read(store.path(packed.digest)), packed.digest)


def test_an_unknown_digest_is_missing_and_a_path_is_no_digest(tmp_path):
    store = BundleStore(tmp_path)

    with pytest.raises(Missing):
        store.path("sha256:" + "0" * 64)
    with pytest.raises(Rejected):
        store.path("../../etc")
    assert not store.has("sha256:" + "0" * 64)


def test_a_stored_bundle_that_was_changed_is_told_with_how_to_mend_it(packed, tmp_path):
    store = BundleStore(tmp_path / "bundles")
    place = store.path(store.add(packed.folder))
    assert store.audited(packed.digest).digest == packed.digest

    (place / "model/model.onnx").write_bytes(b"rot")

    with pytest.raises(Tampered, match=r"is not what was packed: model/model\.onnx") as caught:
        store.audited(packed.digest)
    assert "push the folder" in caught.value.fix
