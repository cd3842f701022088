"""Gather the card of a registered version from the database: its evidence, its monitor, its ledger entries."""

import msgspec
from sqlalchemy import Connection, select

from shipway import ledger
from shipway.database import schema
from shipway.govern.claims import Card
from shipway.govern.gather import card
from shipway.registry import SqlRegistry, VersionRow


def card_of(tx: Connection, version: VersionRow) -> Card:
    """Make the card of a registered version.

    Args:
        tx: an open transaction; reading is enough.
        version: as the registry gave it.
    """
    evidence = [msgspec.to_builtins(row) for row in SqlRegistry(tx).evidence(version.digest, project=version.project)]
    state = schema.monitor_state
    watched = (
        select(state.c.summary)
        .where((state.c.project == version.project) & (state.c.digest == version.digest))
        .order_by(state.c.window.desc())
    )
    summary = tx.execute(watched).scalar()
    entries = ledger.entries(tx, project=version.project, subject=f"model:{version.model}:{version.version}")
    monitor = msgspec.json.decode(summary) if summary else None
    return card(version.manifest, version.digest, evidence, monitor, entries, version=version.version)
