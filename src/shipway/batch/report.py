"""What came of a scoring, as a value."""

from pathlib import Path

from msgspec import Struct


class ScoreReport(Struct, frozen=True):
    """What came of a scoring. `rows == scored + rejected` always."""

    model: str
    digest: str
    rows: int
    """Rows of the source."""
    scored: int
    """Rows of the output."""
    rejected: int
    """Rows that were set aside."""
    out: Path | None
    """The file of answers; None if no row could be scored, and then none was written."""
    rejected_file: Path | None
    """Where rejected rows are listed: row, column, reason. None if there are none."""
    reasons: dict[str, int] = {}
    """The most frequent reasons and how many rows each took, most first."""

    @property
    def all_bad(self) -> bool:
        """True if there were rows and none could be scored."""
        return self.rows > 0 and self.scored == 0
