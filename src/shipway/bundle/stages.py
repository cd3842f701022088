"""Read, audit, open: three steps with three types, so that nothing unverified is ever run.

`audit` reports every finding at once: a changed byte, a file too many or too few, a link, a path that
leaves the folder, a graph that names other files. What it approves is a promise about names, sizes
and hashes; `AuditedBundle.content` and `AuditedBundle.sealed` check the hash again on the very bytes
they hand out, so a file swapped between audit and load is refused too.
"""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shipway.bundle.graph import names_other_files
from shipway.bundle.memory import BLOCK, open_plain, sealed
from shipway.bundle.runtime import NATIVE, Loader, Runtime
from shipway.errors import Missing, Rejected, Tampered
from shipway.terms import FORMAT, File, Manifest

MANIFEST = "manifest.json"
MANIFEST_LIMIT = 16 << 20
_SHOWN = 20


class _Envelope(msgspec.Struct):
    format: int


@dataclass(frozen=True)
class ReadBundle:
    """A parsed manifest. Nothing else about the folder is known to be true yet."""

    folder: Path
    manifest: Manifest
    digest: str


@dataclass(frozen=True)
class AuditedBundle:
    """A bundle whose files were all what the manifest says. Made by `audit` alone."""

    folder: Path
    manifest: Manifest
    digest: str

    def file(self, path: str) -> File:
        """Return the manifest's entry for a file.

        Raises:
            Missing: the bundle has no such file.
        """
        found = next((f for f in self.manifest.files if f.path == path), None)
        if found is None:
            raise Missing(
                f"bundle {self.digest[:19]} has no file {path!r}", fix="look at the file list of its manifest"
            )
        return found

    def has(self, path: str) -> bool:
        """Say whether the bundle has a file of this path."""
        return any(f.path == path for f in self.manifest.files)

    def content(self, path: str) -> bytes:
        """Return the verified bytes of a file.

        Raises:
            Tampered: it changed since the audit.
        """
        entry = self.file(path)
        with os.fdopen(open_plain(self.folder / path), "rb") as stream:
            data = stream.read(entry.size + 1)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise _changed(self.digest, path)
        return data

    @contextmanager
    def sealed(self, path: str) -> Iterator[str]:
        """Give a path from which exactly the verified bytes can be loaded, for as long as the block lasts.

        Raises:
            Tampered: the file changed since the audit.
        """
        entry = self.file(path)
        with sealed(self.folder / path) as (name, sha256):
            if sha256 != entry.sha256:
                raise _changed(self.digest, path)
            yield name


def read(folder: Path) -> ReadBundle:
    """Parse the manifest of a bundle; nothing runs and no other file is touched.

    Raises:
        Missing: there is no bundle in this folder.
        Rejected: its manifest cannot be read by this version.
    """
    try:
        with os.fdopen(open_plain(folder / MANIFEST), "rb") as stream:
            data = stream.read(MANIFEST_LIMIT + 1)
    except OSError as exc:
        raise Missing(
            f"{folder} is not a bundle: {MANIFEST} cannot be read there ({exc.strerror})",
            fix="give the folder that `shipway pack` wrote",
        ) from exc
    if len(data) > MANIFEST_LIMIT:
        raise Rejected(f"the manifest in {folder} is larger than 16 MiB", fix="pack the model again")
    try:
        version = msgspec.json.decode(data, type=_Envelope).format
        if version != FORMAT:
            raise Rejected(
                f"the bundle in {folder} is in format {version}, and this version reads {FORMAT}",
                fix="upgrade shipway, or pack the model again with this version",
            )
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise Rejected(f"the manifest in {folder} cannot be read: {exc}", fix="pack the model again") from exc
    return ReadBundle(folder, manifest, "sha256:" + hashlib.sha256(data).hexdigest())


def audit(bundle: ReadBundle, expected: str | None = None, *, kinds: Collection[str] | None = None) -> AuditedBundle:
    """Hash every file and compare folder and manifest, without running anything.

    Args:
        bundle: what `read` returned.
        expected: the digest that this bundle must have, if it is known.
        kinds: runtimes that may be named; by default those of this room. None of them is loaded.

    Raises:
        Tampered: files are not what the manifest says. The message lists all findings.
        Rejected: the files are true to the manifest, but it asks for what is not allowed.
    """
    manifest = bundle.manifest
    tampered, unsafe = [], []
    if expected is not None and bundle.digest != expected:
        tampered.append(f"its digest is {bundle.digest}, not {expected}")
    unsafe += _unsafe_paths(manifest.files)
    if manifest.runtime.kind not in (NATIVE if kinds is None else kinds):
        unsafe.append(f"runtime {manifest.runtime.kind!r} is unknown here")
    if all(f.path != manifest.runtime.entry for f in manifest.files):
        unsafe.append(f"the model file {manifest.runtime.entry!r} is not in the file list")
    present, odd = _entries(bundle.folder)
    tampered += odd
    listed = {f.path for f in manifest.files}
    tampered += [f"{path} was added" for path in sorted(present - listed - {MANIFEST})]
    if not unsafe:
        for file in manifest.files:
            tampered += _compare(bundle.folder, file) if file.path in present else [f"{file.path} is missing"]
    if not unsafe and not tampered:
        unsafe += _unsafe_graph(bundle)
    if tampered:
        raise Tampered(
            f"the bundle {manifest.model!r} in {bundle.folder} is not what was packed: {_listing(tampered + unsafe)}",
            fix="fetch the bundle again from where it was verified, or pack the model again",
        )
    if unsafe:
        raise Rejected(
            f"the bundle {manifest.model!r} in {bundle.folder} is refused: {_listing(unsafe)}",
            fix="pack the model again with `shipway pack`",
        )
    return AuditedBundle(bundle.folder, manifest, bundle.digest)


def open_bundle(audited: AuditedBundle, runtimes: Mapping[str, Loader]) -> Runtime:
    """Construct the runtime of an audited bundle: load the model, ready to predict.

    Args:
        audited: what `audit` returned.
        runtimes: kind -> loader, e.g. `shipway.bundle.DEFAULT`.

    Raises:
        Rejected: no runtime of this kind was handed in, or it cannot load the model.
        Tampered: a file changed since the audit.
    """
    loader = runtimes.get(audited.manifest.runtime.kind)
    if loader is None:
        raise Rejected(
            f"no runtime {audited.manifest.runtime.kind!r} here, only {', '.join(sorted(runtimes))}",
            fix="install the package that provides this runtime, or pack the model for onnx",
        )
    return loader(audited)


def _changed(digest: str, path: str) -> Tampered:
    return Tampered(
        f"{path} of bundle {digest[:19]} changed after it was audited",
        fix="find out who writes to the bundle folder, then fetch the bundle again",
    )


def _listing(findings: list[str]) -> str:
    more = f"; and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    return "; ".join(findings[:_SHOWN]) + more


def _unsafe_paths(files: tuple[File, ...]) -> list[str]:
    findings = []
    seen: dict[str, str] = {}
    for file in files:
        path = file.path
        parts = path.split("/")
        if (
            any(part in ("", ".", "..") for part in parts)
            or any(c in path for c in '\\:\0"<>|?*')
            or not path.isprintable()
        ):
            findings.append(f"the path {path!r} is not a plain relative path")
        if path == MANIFEST:
            findings.append(f"{MANIFEST} cannot list itself")
        twin = seen.setdefault(path.casefold(), path)
        if twin is not path:
            findings.append(f"the paths {twin!r} and {path!r} are one on some file systems")
    return findings


def _entries(folder: Path) -> tuple[set[str], list[str]]:
    """List the regular files below a folder, and what is neither a file nor a folder."""
    found: set[str] = set()
    odd: list[str] = []
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                path = prefix + entry.name
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    waiting.append(path + "/")
                elif stat.S_ISREG(mode):
                    found.add(path)
                else:
                    odd.append(f"{path} is a {'link' if stat.S_ISLNK(mode) else 'special file'}")
    return found, sorted(odd)


def _compare(folder: Path, file: File) -> list[str]:
    digest, size = hashlib.sha256(), 0
    try:
        with os.fdopen(open_plain(folder / file.path), "rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as exc:
        return [f"{file.path} cannot be read ({exc.strerror})"]
    if size != file.size:
        return [f"{file.path} has {size:,} bytes instead of {file.size:,}"]
    return (
        [] if digest.hexdigest() == file.sha256 else [f"{file.path} was changed (sha256 {digest.hexdigest()[:12]}...)"]
    )


def _unsafe_graph(bundle: ReadBundle) -> list[str]:
    findings = []
    for file in bundle.manifest.files:
        if not file.path.endswith(".onnx"):
            continue
        try:
            if names_other_files((bundle.folder / file.path).read_bytes()):
                findings.append(f"{file.path} keeps tensors in other files")
        except ValueError as exc:
            findings.append(f"{file.path} is not an ONNX model: {exc}")
    return findings
