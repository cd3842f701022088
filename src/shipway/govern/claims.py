"""The values a card is made of: claims in sections, and how sure each claim is of itself."""

from typing import Literal

import msgspec
from msgspec import Struct

from shipway.errors import Rejected
from shipway.govern import render

Kind = Literal["measured", "attested", "absent"]


class Claim(Struct, frozen=True, omit_defaults=True):
    """One sentence of a card and what stands behind it.

    A measured claim has a `source` (what was measured, by what) and mostly a `digest`; an attested one has
    `who`; an absent one has a `source` that says what would fill the gap.
    """

    kind: Kind
    text: str
    source: str = ""
    digest: str = ""
    """Of the file, statement or ledger entry that the claim can be checked against."""
    who: str = ""
    at: float | None = None
    """Unix seconds."""

    def __post_init__(self) -> None:
        """Refuse a claim that hides what stands behind it."""
        if self.kind == "measured" and not (self.source or self.digest):
            raise Rejected(
                "a measured claim names what measured it", fix="give its source or digest, or call it attested"
            )
        if self.kind == "attested" and not self.who:
            raise Rejected("an attested claim names who attests it", fix="give `who`, or print it as absent")


class Section(Struct, frozen=True):
    """Claims under one heading."""

    title: str
    claims: tuple[Claim, ...]


class Card(Struct, frozen=True):
    """What is known, said and not known about one version of a model."""

    model: str
    version: int
    """Its number in the registry, or 0 where the card was made from a bundle alone."""
    digest: str
    sections: tuple[Section, ...]

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All claims in order."""
        return tuple(claim for section in self.sections for claim in section.claims)

    def count(self, kind: Kind) -> int:
        """How many claims are of a kind."""
        return sum(claim.kind == kind for claim in self.claims)

    @property
    def title(self) -> str:
        """Name and number of the version."""
        return f"{self.model} version {self.version}" if self.version else self.model

    @property
    def sentence(self) -> str:
        """How much of the card rests on what."""
        measured, attested, absent = (self.count(kind) for kind in ("measured", "attested", "absent"))
        said = f"Its card makes {len(self.claims)} claims: {measured} measured, {attested} attested, {absent} absent."
        return f"{said} The absent ones are printed, not hidden." if absent else said

    def to_markdown(self) -> str:
        """Write the card as Markdown; text from outside is escaped, so it cannot become markup."""
        return render.markdown(self.title, self.digest, self.sentence, self._rows())

    def to_html(self) -> str:
        """Write the card as one self-contained page that prints; text from outside is escaped."""
        return render.html(self.title, self.digest, self.sentence, self._rows())

    def to_json(self) -> bytes:
        """Write the card as JSON: `{"format": 1, "model", "version", "digest", "sections": [...]}`."""
        return msgspec.json.encode({"format": 1, **msgspec.to_builtins(self), "sentence": self.sentence})

    def _rows(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        return [
            (section.title, [(c.kind, c.text, render.source(c.source, c.digest, c.who, c.at)) for c in section.claims])
            for section in self.sections
        ]
