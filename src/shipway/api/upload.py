"""Receive a bundle as a tar stream and put it into the store.

The reader takes the plainest form of tar only (`tar --format=ustar`, no compression) and makes every
file and folder itself inside a fresh folder: what it does not make cannot be written through. Links,
devices, absolute names, `..`, names that differ only in case, repeats and extensions are refused.

Not here: what is inside (the store audits a bundle before it keeps it).
"""

import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from shipway.bundle import BundleStore
from shipway.errors import Missing, Rejected, ShipwayError

MAX_BYTES = 4 * 2**30
"""Largest bundle that is taken, in bytes."""
MAX_FILES = 1000
_BLOCK = 512
_CHUNK = 2**20
_FIX = "send a bundle folder with `shipway deploy`, or as `tar --format=ustar -cf - -C FOLDER .`"


async def spool(request: Request, into: IO[bytes], *, limit: int = MAX_BYTES) -> None:
    """Write the body of a request to a file without keeping it in memory or holding the event loop.

    Raises:
        Rejected: it is larger than `limit` bytes.
    """
    size, waiting = 0, bytearray()
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise Rejected(f"the upload is larger than {limit} bytes", fix="pack a smaller model")
        waiting += part
        if len(waiting) >= _CHUNK:
            await run_in_threadpool(into.write, bytes(waiting))
            waiting.clear()
    await run_in_threadpool(into.write, bytes(waiting))


def receive(archive: IO[bytes], store: BundleStore, *, scratch: Path) -> str:
    """Unpack an archive beside the store, let the store audit and keep it, and return its digest.

    Raises:
        Rejected: the archive is not a plain tar, or the bundle does not pass its audit.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".upload-", dir=scratch))
    try:
        unpack(archive, folder)
        return store.add(folder)
    except Missing as exc:
        raise Rejected("the archive holds no manifest.json at its top", fix=_FIX) from exc
    except ShipwayError as exc:
        # The caller's bundle has no folder here: ours is gone when this is read.
        raise type(exc)(str(exc).replace(f" in {folder}", ""), fix=exc.fix) from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack(archive: IO[bytes], folder: Path, *, limit: int = MAX_BYTES) -> None:
    """Write the files of a plain tar archive into an empty folder.

    Raises:
        Rejected: the archive is damaged or holds anything but files and folders with plain relative names.
    """
    archive.seek(0)
    seen: set[str] = set()
    total = files = 0
    while header := archive.read(_BLOCK):
        if not header.strip(b"\0"):
            break
        member = _member(header)
        if member.isdir():
            continue
        path = _inside(member, seen)
        total, files = total + member.size, files + 1
        if total > limit or files > MAX_FILES:
            raise Rejected(
                f"the archive holds more than {MAX_FILES} files or {limit} bytes", fix="a bundle is smaller than that"
            )
        target = folder.joinpath(*path.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            _copy(archive, out, member)
        archive.seek(-member.size % _BLOCK, 1)
    if not files:
        raise Rejected("the archive is empty", fix=_FIX)


def _member(header: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeError, ValueError) as exc:
        raise Rejected(f"the upload is not a plain tar archive: {exc}", fix=_FIX) from exc


def _inside(member: tarfile.TarInfo, seen: set[str]) -> PurePosixPath:
    """Return the path of a member, relative and new, or refuse it."""
    name = member.name
    shown = repr(name[:100])
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise Rejected(f"{shown} in the archive is not a plain file", fix=_FIX)
    path = PurePosixPath(name)
    odd = any(c in name for c in "\\:\0") or not name.isprintable()
    if odd or path.is_absolute() or not path.parts or ".." in path.parts or member.size < 0:
        raise Rejected(f"{shown} in the archive does not name a file inside it", fix=_FIX)
    if str(path).casefold() in seen:
        raise Rejected(f"{shown} is in the archive twice", fix=_FIX)
    # A folder is remembered with a slash behind it, so that no name is a file and a folder.
    folders = {f"{parent}/".casefold() for parent in path.parents}
    if f"{path}/".casefold() in seen or any(folder[:-1] in seen for folder in folders):
        raise Rejected(f"{shown} in the archive is a file and a folder", fix=_FIX)
    seen.add(str(path).casefold())
    seen.update(folders)
    return path


def _copy(archive: IO[bytes], out: IO[bytes], member: tarfile.TarInfo) -> None:
    left = member.size
    while left:
        part = archive.read(min(left, _CHUNK))
        if not part:
            raise Rejected(f"the archive ends inside {member.name[:100]!r}", fix="send it again")
        out.write(part)
        left -= len(part)
