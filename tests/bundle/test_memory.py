import hashlib
import os
from pathlib import Path

import pytest

from shipway.bundle.memory import _private_copy, sealed


def open_files():
    held = Path("/proc/self/fd")
    return len(list(held.iterdir())) if held.is_dir() else 0


def test_the_sealed_copy_holds_the_bytes_and_cannot_be_changed(tmp_path):
    source = tmp_path / "model"
    source.write_bytes(b"abc" * 1_000_000)

    with sealed(source) as (path, sha256):
        source.write_bytes(b"changed")
        copied = Path(path).read_bytes()

        assert copied == b"abc" * 1_000_000
        assert sha256 == hashlib.sha256(copied).hexdigest()
        if path.startswith("/proc/"):
            with pytest.raises(PermissionError):
                os.truncate(path, 0)


def test_the_copy_is_gone_after_the_block(tmp_path):
    source = tmp_path / "model"
    source.write_bytes(b"abc")
    before = open_files()

    with sealed(source):
        pass
    with _private_copy(source) as (path, _):
        kept = Path(path)
        assert kept.stat().st_mode & 0o077 == 0

    assert not kept.exists()
    assert open_files() == before


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "real").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(OSError, match="link"), sealed(tmp_path / "link"):
        pass
