"""What the registry hands out: frozen values, complete in themselves."""

from typing import Any

from msgspec import Struct

from shipway.terms import Manifest, Verdict


class ModelRow(Struct, frozen=True):
    """A name and what is under it."""

    project: str
    name: str
    description: str
    created_at: float
    versions: int
    """How many there are; also the number of the newest."""
    aliases: dict[str, int]
    """Alias -> version."""


class VersionRow(Struct, frozen=True):
    """A numbered bundle under a model name."""

    model: str
    version: int
    digest: str
    manifest: Manifest
    created_at: float
    created_by: str
    project: str = "default"
    archived_at: float | None = None

    def __str__(self) -> str:
        return f"{self.model}:{self.version}"


class AliasRow(Struct, frozen=True):
    """Where an alias points now."""

    model: str
    alias: str
    version: int
    revision: int
    """Grows by one at each move; pass it as `seen` to move the alias from here."""


class AliasMove(Struct, frozen=True):
    """One move of an alias."""

    revision: int
    version: int
    moved_at: float
    moved_by: str
    why: str


class EvidenceRow(Struct, frozen=True):
    """A statement about a bundle."""

    id: str
    """A sha256 of the statement and of what it is about."""
    digest: str
    """Of the bundle."""
    kind: str
    """`gate`, `card` or `signature`."""
    verdict: Verdict | None
    statement: dict[str, Any]
    created_at: float
