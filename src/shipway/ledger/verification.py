"""Recompute the whole chain and say in one sentence what was found."""

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
    head_is_there = head in (None, GENESIS)
    warnings: list[str] = []
    for entry in walk(tx):
        count += 1
        if bad is None and (fault := _fault(entry, before)):
            bad = (before.seq + 1 if before else 1, fault)
        if bad is None and before is not None and entry.at < before.at - CLOCK_BACK_S:
            warnings.append(f"entry {entry.seq} is dated {before.at - entry.at:.0f} s before the one it follows")
        head_is_there = head_is_there or entry.hash == head
        before = entry
    newest = before.hash if before else GENESIS
    if bad is None and not head_is_there:
        bad = (count + 1, f"{head} is not in the ledger, which ends with entry {count}: entries were cut off its end")
    if bad is not None:
        return Verification(False, count, newest, bad[0], bad[1], tuple(warnings))
    said = f"all {count} entries are as they were written" if count else "the ledger has no entries yet"
    if warnings:
        said += f", though the clock went back {len(warnings)} times"
    return Verification(True, count, newest, None, said, tuple(warnings))


def _fault(entry: Entry, before: Entry | None) -> str | None:
    """Say what is wrong with an entry that follows another, or None."""
    expected = before.seq + 1 if before else 1
    if entry.seq != expected:
        return f"entry {expected} is missing: the next one there has number {entry.seq}"
    if entry.previous != (before.hash if before else GENESIS):
        return f"entry {entry.seq} does not follow the one before it: one of the two was replaced"
    try:
        same = digest(entry) == entry.hash
    except (rfc8785.CanonicalizationError, TypeError, ValueError):
        same = False
    return None if same else f"entry {entry.seq} was changed after it was written: its hash does not fit its content"
