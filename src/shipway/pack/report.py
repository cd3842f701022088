"""What packing did, as a value that the CLI prints as one table."""

from msgspec import Struct


class Attempt(Struct, frozen=True):
    """One converter that was tried."""

    converter: str
    accepted: bool
    detail: str
    """The comparison in words, or why it gave up."""


class Report(Struct, frozen=True):
    """What packing did."""

    model: str
    """Class of the original."""
    converter: str
    runtime: str
    parity: str
    attempts: tuple[Attempt, ...]
    """In the order they were tried; the last one was taken."""
    rows: int
    inputs: int
    files: int
    size_bytes: int
    cost_us: dict[str, float]
    """Microseconds of the packed model for 1 and 64 rows."""
    original_us: float | None
    """Microseconds of the original for one row; None if the graph is the original."""
    inline: bool
    """True if it may run inside a worker."""
    notes: tuple[str, ...] = ()
    """What a reader should know: columns where missing cells are refused, and the like."""

    @property
    def times_faster(self) -> float | None:
        """How many times faster one row is answered than by the original."""
        return self.original_us / self.cost_us["1"] if self.original_us and self.cost_us.get("1") else None

    def table(self) -> list[tuple[str, str]]:
        """Return the report as rows of two cells."""
        faster = f", {self.times_faster:,.0f} times faster than the original" if self.times_faster else ""
        rows = [
            ("model", self.model),
            ("converted by", f"{self.converter}, runs on {self.runtime}"),
            ("parity", self.parity),
            ("speed", f"{self.cost_us.get('1', 0):.0f} us a row{faster}; 64 rows {self.cost_us.get('64', 0):,.0f} us"),
            ("bundle", f"{self.files} files, {self.size_bytes / 1024:,.0f} KiB"),
            ("runs", "inside the worker" if self.inline else "in a process of its own"),
        ]
        rows += [("refused", f"{a.converter}: {a.detail}") for a in self.attempts if not a.accepted]
        return rows + [("note", note) for note in self.notes]
