"""Archives that would write where they should not, and what must come of them: 422 and nothing written."""

import asyncio
import contextlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.api import upload
from shipway.errors import Rejected


def archive(*members, mode="w", form=tarfile.USTAR_FORMAT):
    """Write (name, content) or TarInfo into a tar."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode=mode, format=form) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    raw.seek(0)
    return raw


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def written(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_arrive_as_they_were_sent(tmp_path):
    sent = {"manifest.json": b"{}", "model/model.onnx": b"x" * 1000, "empty": b"", "a/b/c/d.bin": bytes(512)}

    upload.unpack(archive(special("model", tarfile.DIRTYPE), *sent.items()), tmp_path)

    assert written(tmp_path) == sent


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tar_writes_for_a_folder_is_taken(tmp_path, form):
    upload.unpack(archive(special("./", tarfile.DIRTYPE), ("./manifest.json", b"{}"), form=form), tmp_path)

    assert written(tmp_path) == {"manifest.json": b"{}"}


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "a/../../evil", "/etc/evil", "a/../b", "..", "\\evil", "a\\..\\evil", "C:evil", "c:/evil",
        "e\nvil", "\u202egnp.exe", "a/\x07", "\x1b[2J",
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()

    with pytest.raises(Rejected):
        upload.unpack(archive((name, b"evil")), inside)

    assert written(tmp_path) == {}


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b"Z"],
)
def test_links_devices_and_unknown_kinds_are_refused(tmp_path, kind):
    with pytest.raises(Rejected, match="not a plain file"):
        upload.unpack(archive(special("x", kind, "/etc/passwd")), tmp_path)

    assert written(tmp_path) == {}


def test_nothing_is_written_through_a_link(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()

    with pytest.raises(Rejected):
        upload.unpack(archive(special("model", tarfile.SYMTYPE, str(outside)), ("model/x", b"evil")), inside)

    assert written(outside) == {}


@pytest.mark.parametrize(
    "names",
    [("a", "a"), ("a", "A"), ("dir/x", "DIR/X"), ("a", "a/b"), ("a/b", "a"), ("a", "./a"), ("a/b", "A")],
    ids=str,
)
def test_a_name_is_one_file_whatever_the_file_system(tmp_path, names):
    with pytest.raises(Rejected):
        upload.unpack(archive(*((name, b"x") for name in names)), tmp_path)


def test_more_than_the_limit_is_refused_before_it_is_written(tmp_path):
    with pytest.raises(Rejected, match="1000 files or 1500 bytes"):
        upload.unpack(archive(("a", b"x" * 1000), ("b", b"x" * 1000)), tmp_path, limit=1500)

    assert list(written(tmp_path)) == ["a"]


def test_a_size_that_the_archive_does_not_hold_is_refused(tmp_path):
    info = tarfile.TarInfo("big")
    info.size = 2**33 - 1
    raw = io.BytesIO(info.tobuf(format=tarfile.USTAR_FORMAT) + b"short")

    with pytest.raises(Rejected):
        upload.unpack(raw, tmp_path)


def test_a_million_names_stop_at_the_limit(tmp_path):
    with pytest.raises(Rejected, match="more than 1000 files"):
        upload.unpack(archive(*((f"f{i}", b"") for i in range(1001))), tmp_path)


@pytest.mark.parametrize("raw", [b"", b"\0" * 1024, b"hello", b"\x1f\x8b" + b"x" * 600, b"PK\3\4" + b"x" * 600])
def test_what_is_no_plain_tar_is_refused_with_the_command_that_makes_one(tmp_path, raw):
    with pytest.raises(Rejected) as failure:
        upload.unpack(io.BytesIO(raw), tmp_path)

    assert "tar --format=ustar" in failure.value.fix


def test_extensions_cannot_rename_a_member(tmp_path):
    info = tarfile.TarInfo("good")
    info.pax_headers = {"path": "../evil"}

    with pytest.raises(Rejected, match="not a plain file"):
        upload.unpack(archive(info, form=tarfile.PAX_FORMAT), tmp_path)


@given(st.binary(max_size=3000))
def test_no_bytes_crash_the_reader(tmp_path_factory, raw):
    folder = tmp_path_factory.mktemp("any")

    try:
        upload.unpack(io.BytesIO(raw), folder)
    except Rejected:
        return
    assert written(folder)


@given(st.integers(0, 511), st.binary(min_size=1, max_size=8))
def test_no_change_to_a_header_writes_outside(tmp_path_factory, at, change):
    top = tmp_path_factory.mktemp("any")
    inside = top / "inside"
    inside.mkdir()
    raw = bytearray(archive(("model/x", b"content")).read())
    raw[at : at + len(change)] = change
    # A valid checksum, so that the change is looked at and not only refused as damage.
    raw[148:156] = b" " * 8
    raw[148:156] = f"{sum(raw[:512]):06o}\0 ".encode()

    with contextlib.suppress(Rejected):
        upload.unpack(io.BytesIO(bytes(raw)), inside)

    assert set(top.iterdir()) == {inside}
    assert not any(path.is_symlink() for path in top.rglob("*"))


def test_an_upload_that_is_no_bundle_leaves_nothing_behind(api, platform):
    answer = api.put("/v1/bundles", content=archive(("readme.txt", b"hello")).read())

    assert answer.status_code == 422
    assert "manifest.json" in answer.json()["error"]
    assert list((platform.settings.home / "uploads").iterdir()) == []
    assert platform.bundles.digests() == []


def test_an_upload_above_the_limit_stops_early():
    class Request:
        taken = 0

        async def stream(self):
            while True:
                self.taken += 1
                yield b"x" * 2**16

    request = Request()
    with pytest.raises(Rejected, match="larger than 1000000 bytes"):
        asyncio.run(upload.spool(request, io.BytesIO(), limit=1_000_000))

    assert request.taken <= 17
