"""Keep bundles in a folder, each under its digest.

Its laws:

- what `add` returned a digest for, `path` finds until someone deletes it;
- adding the same bundle again changes nothing and returns the same digest;
- a bundle is there whole or not at all, also after a crash: it is copied beside, synced, then renamed;
- a stored bundle that was damaged is found by `audited` and replaced by the next `add` of the same bundle.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from shipway import terms
from shipway.bundle.stages import MANIFEST, AuditedBundle, audit, read
from shipway.errors import Missing, ShipwayError, Tampered


class BundleStore:
    """A folder of bundles. Any number of processes may add and read at once."""

    def __init__(self, folder: Path, *, kinds: Collection[str] | None = None) -> None:
        self.folder = folder
        self._kinds = kinds

    def path(self, digest: str) -> Path:
        """Return the folder of a bundle.

        Raises:
            Missing: it is not here.
            Rejected: this is not a digest.
        """
        place = self._place(digest)
        if not (place / MANIFEST).is_file():
            raise Missing(f"no bundle {digest[:19]} in {self.folder}", fix="push the bundle to this store first")
        return place

    def has(self, digest: str) -> bool:
        """Say whether a bundle is here."""
        return (self._place(digest) / MANIFEST).is_file()

    def audited(self, digest: str) -> AuditedBundle:
        """Hash every file of a stored bundle again: whether it still is what was added.

        Raises:
            Missing, Tampered, Rejected: it is not; each tells how to mend it.
        """
        mend = "push the folder that `shipway pack` wrote again: it takes the place of the damaged copy"
        try:
            return audit(read(self.path(digest)), digest, kinds=self._kinds)
        except (Missing, Tampered) as exc:
            raise type(exc)(str(exc), fix=mend) from exc

    def add(self, folder: Path) -> str:
        """Audit a bundle and keep a copy of it; return its digest.

        Raises:
            Missing, Rejected, Tampered: it is not a bundle, or not one to keep.
        """
        bundle = audit(read(folder), kinds=self._kinds)
        place = self._place(bundle.digest)
        if self._is_sound(place, bundle.digest):
            return bundle.digest
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".adding-", dir=self.folder))
        try:
            _copy(bundle, beside)
            audit(read(beside), bundle.digest, kinds=self._kinds)
            self._move_in(beside, place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return bundle.digest

    def digests(self) -> list[str]:
        """List the digests of all bundles here, sorted."""
        if not self.folder.is_dir():
            return []
        named = ("sha256:" + entry.name for entry in self.folder.iterdir() if (entry / MANIFEST).is_file())
        return sorted(name for name in named if terms.DIGEST.fullmatch(name))

    def _place(self, digest: str) -> Path:
        return self.folder / terms.digest(digest).removeprefix("sha256:")

    def _is_sound(self, place: Path, digest: str) -> bool:
        try:
            audit(read(place), digest, kinds=self._kinds)
        except ShipwayError:
            return False
        return True

    def _move_in(self, beside: Path, place: Path) -> None:
        beside.chmod(0o755)
        try:
            beside.rename(place)
        except OSError:
            if self._is_sound(place, "sha256:" + place.name):  # another process was faster
                return
            damaged = Path(tempfile.mkdtemp(prefix=".damaged-", dir=self.folder))
            place.rename(damaged / "bundle")
            beside.rename(place)
            shutil.rmtree(damaged, ignore_errors=True)
        _sync_folder(self.folder)


def _copy(bundle: AuditedBundle, target: Path) -> None:
    for path in (MANIFEST, *(f.path for f in bundle.manifest.files)):
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with (bundle.folder / path).open("rb") as source, place.open("wb") as copy:
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Windows cannot open folders
        held = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(held)
        finally:
            os.close(held)
