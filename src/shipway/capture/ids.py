"""Make event ids: UUIDv7, so that they sort by time and say when the event was.

48 bits of milliseconds, 12 bits of the fraction of one, then a random base drawn once per incarnation
plus a counter. Ids of one worker are guessable from each other: they are names, not secrets.
"""

from collections.abc import Callable

from shipway.errors import Rejected

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62


class Ids:
    """Draws ids for one incarnation of one process; make it after a fork, or twins make equal ids."""

    def __init__(self, random_bytes: Callable[[int], bytes], now_ns: Callable[[], int]) -> None:
        self._tail = int.from_bytes(random_bytes(8), "big") >> 3  # 61 bits: the counter cannot overflow 62
        self._now_ns = now_ns

    def new(self) -> bytes:
        """Return the next id, 16 bytes, for an event of now."""
        return self.at(self._now_ns())

    def at(self, now_ns: int) -> bytes:
        """Return the next id, 16 bytes, for an event at `now_ns` Unix nanoseconds.

        >>> Ids(lambda n: bytes(n), lambda: 0).at(1_700_000_000_123_500_000).hex()
        '018bcfe5687b78008000000000000001'
        """
        self._tail += 1
        ms, rest = divmod(now_ns, 1_000_000)
        return ((ms << 80) | _VERSION_7 | ((rest * 4096 // 1_000_000) << 64) | _VARIANT | self._tail).to_bytes(
            16, "big"
        )


def normal_id(event_id: str) -> str:
    """Return an event id as 32 lower-case hexadecimal digits, whichever of the usual ways it was written.

    Raises:
        Rejected: it is not a UUIDv7.

    >>> normal_id("018BCFE5-687B-7800-8000-000000000001")
    '018bcfe5687b78008000000000000001'
    """
    text = event_id.replace("-", "").lower()
    if len(text) == 32 and text[12] == "7" and text[16] in "89ab" and all(c in "0123456789abcdef" for c in text):
        return text
    raise Rejected(
        f"{event_id[:60]!r} is not an event id",
        fix="send the id that came with the answer in the header shipway-event-id",
    )


def id_time(event_id: str) -> float:
    """Return the Unix seconds at which the event with this id was asked.

    >>> id_time("018bcfe5687b78008000000000000001")
    1700000000.123
    """
    return int(normal_id(event_id)[:12], 16) / 1000
