"""Gather the card of a registered version from the database: its evidence, its monitor, its ledger entries."""

import msgspec
from sqlalchemy import Connection, select

from shipway import ledger
from shipway.database import schema
from shipway.endpoint import SqlEndpoints
from shipway.govern.claims import Card
from shipway.govern.gather import card
from shipway.govern.serving import Place
from shipway.registry import SqlRegistry, VersionRow
from shipway.terms import BASIS


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
    mine = _endpoints(tx, version)
    made = [
        entry
        for entry in ledger.entries(tx, project=version.project, kind="retrain.done")
        if entry.payload.get("version") == version.version and entry.subject in mine
    ]
    monitor = msgspec.json.decode(summary) if summary else None
    return card(
        version.manifest,
        version.digest,
        evidence,
        monitor,
        [*made, *entries],
        version=version.version,
        places=_places(tx, version),
    )


def _endpoints(tx: Connection, version: VersionRow) -> set[str]:
    return {f"endpoint:{e.name}" for e in SqlEndpoints(tx).all(version.project) if e.model == version.model}


def _places(tx: Connection, version: VersionRow) -> list[Place]:
    """Find where a version runs, and where it is kept loaded."""
    places = []
    for found in SqlEndpoints(tx).all(version.project):
        mine = [v for v in found.variants if v.digest == version.digest]
        for variant in mine:
            part = "shadow" if variant.mode == "shadow" else variant.name
            places.append(Place(found.name, part, variant.weight / BASIS, found.settings.capture))
        if not mine and (found.model, found.previous) == (version.model, version.version):
            places.append(Place(found.name, "before"))
    return places
