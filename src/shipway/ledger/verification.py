"""Recompute the whole chain and say in one sentence what was found."""

import msgspec
import rfc8785
from msgspec import Struct
from sqlalchemy import Connection

from shipway.ledger.chain import GENESIS, Entry, digest, walk

CLOCK_BACK_S = 60.0
"""Transactions that wait for each other note times a few seconds out of order; more than this is worth saying."""


class Verification(Struct, frozen=True):
    """What verifying found."""

    ok: bool
    entries: int
    """Entries that are there."""
    head: str
    """Hash of the newest entry."""
    first_bad: int | None
    """Number of the first entry that does not fit; None if all do."""
    sentence: str
    warnings: tuple[str, ...] = ()
    """What does not break the chain and should be explained, such as a clock that went back."""


def verify(tx: Connection, head: str | None = None) -> Verification:
    """Check every hash, link and number of the ledger.

    Args:
        tx: an open transaction; reading is enough.
        head: hash of some entry that the caller kept from an earlier day. If it is not in the chain now,
            entries were cut off the end or the chain was written anew.
    """
    before: Entry | None = None
    bad: tuple[int, str] | None = None
    count = 0
    seen_head = head in (None, GENESIS)
    warnings: list[str] = []
    rows = walk(tx)
    while (entry := _next(rows)) is not None:
        count += 1
        if isinstance(entry, str):
            bad = bad or ((before.seq if before else 0) + 1, entry)
            break
        if bad is None and (fault := _fault(entry, before)):
            bad = (entry.seq, fault)
        if before is not None and entry.at < before.at - CLOCK_BACK_S:
            warnings.append(f"entry {entry.seq} says it is {before.at - entry.at:.0f} s older than the one before it")
        seen_head = seen_head or entry.hash == head
        before = entry
    newest = before.hash if before else GENESIS
    if bad:
        return Verification(False, count, newest, bad[0], f"entry {bad[0]} {bad[1]}", tuple(warnings))
    if not seen_head:
        said = f"the entry {head} is gone: the ledger was cut off or written anew, and now ends with entry {count}"
        return Verification(False, count, newest, count + 1, said, tuple(warnings))
    said = f"all {count} entries are as they were written" if count else "the ledger is empty"
    if warnings:
        said += f"; the clock went back {len(warnings)} times"
    return Verification(True, count, newest, None, said, tuple(warnings))
