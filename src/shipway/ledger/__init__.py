"""The append-only, hash-chained record of who decided what, when, on which evidence; nobody edits it.

    entry = ledger.append(tx, project="default", actor="ann", kind="alias.moved",
                          subject="model:churn:3", payload={"alias": "champion"}, now=now)
    ledger.entries(tx, subject="model:churn:3")
    ledger.verify(tx, head="sha256:...").sentence

Each entry carries the hash of the one before it, so an edit, a deletion or another order anywhere breaks the
chain from there on. Cutting entries off the end leaves a sound but shorter chain: that is found by whoever
kept a `head` elsewhere, as every server does in its route table. Triggers in the database refuse UPDATE and
DELETE to begin with; `verify` is for whoever drops them.
"""

from shipway.ledger.chain import GENESIS, Entry, append, entries, head
from shipway.ledger.verification import Verification, verify

__all__ = ["GENESIS", "Entry", "Verification", "append", "entries", "head", "verify"]
