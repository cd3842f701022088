"""The fast fuse: stop asking a challenger that keeps failing, before any statistics can say so."""

CONSECUTIVE = 5
"""So many failures in a row open the fuse."""


class Fuse:
    """Counts failures in a row. Open, it stays open until the next route table brings a new one.

    >>> fuse = Fuse()
    >>> [fuse.failed("it raised") for _ in range(5)][-1], fuse.why
    (True, '5 failures in a row, the last: it raised')
    """

    __slots__ = ("in_a_row", "why")

    def __init__(self) -> None:
        self.in_a_row = 0
        self.why = ""
        """Why it is open; "" while it is closed."""

    def failed(self, sentence: str) -> bool:
        """Take note of a failure; return True if it opened the fuse."""
        self.in_a_row += 1
        if self.in_a_row < CONSECUTIVE or self.why:
            return False
        self.why = f"{self.in_a_row} failures in a row, the last: {sentence}"
        return True

    def answered(self) -> None:
        """Take note of a good answer."""
        self.in_a_row = 0

    def open(self, why: str) -> None:
        """Open the fuse at once."""
        self.why = self.why or why
