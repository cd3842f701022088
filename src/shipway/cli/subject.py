"""Tell a bundle folder from a reference, and get the same facts about either."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from shipway.cli.frame import Session
from shipway.errors import Missing, Rejected, Unavailable
from shipway.terms import Manifest, ref


@dataclass(frozen=True)
class Subject:
    """A bundle, wherever it is.

    Attributes:
        named: how the user may call it.
        digest: of its manifest.
        manifest: what it is.
        version: its registry row, or {} for a folder.
        folder: where its files are, or None where only the control plane has them.
    """

    named: str
    digest: str
    manifest: Manifest
    version: dict[str, Any]
    folder: Path | None


def is_folder(text: str) -> bool:
    """Say whether a word on the command line is a bundle folder; a reference otherwise.

    A folder without a manifest is only meant where the word has the form of a path.
    """
    return (Path(text) / "manifest.json").is_file() or (
        ("/" in text or text.startswith(".")) and not text.startswith("sha256:")
    )


def find(session: Session, text: str) -> Subject:
    """Find a bundle by folder or by reference; the folder wins where a word could be both.

    Raises:
        Missing: neither is there.
    """
    from shipway import bundle

    if is_folder(text):
        read = bundle.read(Path(text))
        return Subject(text, read.digest, read.manifest, {}, Path(text))
    try:
        row = find_version(session, text)
    except Unavailable as exc:
        raise Missing(
            f"there is no bundle folder {text}, and no control plane can be asked for a version called that: {exc}",
            fix=f"check the path; for a version, {exc.fix}",
        ) from exc
    folder = bundle.BundleStore(session.settings.bundles)
    local = folder.path(row["digest"]) if folder.has(row["digest"]) else None
    return Subject(
        f"{row['model']}:{row['version']}", row["digest"], msgspec.convert(row["manifest"], Manifest), row, local
    )


def find_version(session: Session, text: str) -> dict[str, Any]:
    """Ask the control plane which version a reference means."""
    found = session.client.resolve(str(parse(text)))
    return session.client.version(found["model"], found["version"])


def parse(text: str) -> object:
    """Parse a reference, with a fix that says what else was possible.

    Raises:
        Rejected: it is neither a reference nor a folder.
    """
    try:
        return ref(text)
    except Rejected as exc:
        raise Rejected(f"{text[:60]!r} is neither a bundle folder nor a reference", fix=exc.fix) from exc


def needs_files(subject: Subject) -> Path:
    """Return the folder of a bundle whose files are needed here.

    Raises:
        Missing: they are not on this machine.
    """
    if subject.folder is None:
        raise Missing(
            f"the files of {subject.named} are not on this machine",
            fix="give the folder that `shipway pack` wrote, or run this where the platform runs",
        )
    return subject.folder
