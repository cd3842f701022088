"""A rollout as its row in the database says, and the few statements that read and write it."""

from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, func, insert, select, update

from shipway.database import schema
from shipway.errors import Missing
from shipway.rollout.evidence import Decision

OPEN = ("running", "paused", "waiting")
"""States in which a rollout still may move traffic."""

POINTS = 240
"""Points kept for the charts; beyond it every other one is dropped."""

TABLE = schema.rollout


class Trial(Struct, frozen=True):
    """One rollout."""

    id: str
    project: str
    endpoint: str
    model: str
    champion: int
    challenger: int
    policy: str
    policy_digest: str
    state: str
    """running | paused | waiting | promoted | rolled_back | superseded"""
    step: int
    restart: int
    started_at: float
    step_started_at: float
    ended_at: float | None
    latest: Decision | None
    """The newest decision; None before the first."""
    history: tuple[dict[str, Any], ...]
    """Thinned points for charts: {at, step, units, checks: {name: {harm, margin, estimate, low, high}}},
    `harm` and `margin` being evidence as a fraction of its bar."""

    @property
    def open(self) -> bool:
        """Whether it still may move traffic."""
        return self.state in OPEN

    @property
    def subject(self) -> str:
        """Its name in the ledger."""
        return f"rollout:{self.id}"


def _trial(row: Row[Any]) -> Trial:
    fields = dict(row._mapping)  # noqa: SLF001  -- SQLAlchemy's public name for it
    latest = fields.pop("latest")
    return Trial(
        **{k: v for k, v in fields.items() if k != "history"},
        latest=None if latest == "{}" else msgspec.json.decode(latest, type=Decision),
        history=tuple(msgspec.json.decode(fields["history"])),
    )


def trial(tx: Connection, rollout_id: str) -> Trial:
    """Return a rollout.

    Raises:
        Missing: there is none with this id.
    """
    row = tx.execute(select(TABLE).where(TABLE.c.id == rollout_id)).first()
    if row is None:
        raise Missing(f"there is no rollout {rollout_id[:60]!r}", fix="`shipway rollout status` lists them")
    return _trial(row)


def open_trials(tx: Connection, project: str | None = None, endpoint: str | None = None) -> list[Trial]:
    """List the rollouts that still may move traffic, oldest first."""
    wanted = select(TABLE).where(TABLE.c.state.in_(OPEN)).order_by(TABLE.c.started_at, TABLE.c.id)
    if project is not None:
        wanted = wanted.where(TABLE.c.project == project)
    if endpoint is not None:
        wanted = wanted.where(TABLE.c.endpoint == endpoint)
    return [_trial(row) for row in tx.execute(wanted)]


def tried_since(tx: Connection, project: str, endpoint: str, challenger: int, since: float) -> bool:
    """Whether a version has been on trial at an endpoint since a time."""
    mine = (TABLE.c.project == project) & (TABLE.c.endpoint == endpoint) & (TABLE.c.challenger == challenger)
    found = tx.execute(select(TABLE.c.id).where(mine, TABLE.c.started_at >= since).limit(1)).first()
    return found is not None


def new_id(tx: Connection, project: str, endpoint: str) -> str:
    """Return the next id of an endpoint's rollouts, like `churn-3`; `eu~churn-3` in a project of its own."""
    mine = (TABLE.c.project == project) & (TABLE.c.endpoint == endpoint)
    number = tx.execute(select(func.count()).select_from(TABLE).where(mine)).scalar_one() + 1
    return f"{endpoint}-{number}" if project == "default" else f"{project}~{endpoint}-{number}"


def add(tx: Connection, row: Trial) -> None:
    """Insert a rollout that begins."""
    fields = {k: getattr(row, k) for k in row.__struct_fields__ if k not in ("latest", "history")}
    tx.execute(insert(TABLE).values(**fields))


def change(tx: Connection, rollout_id: str, **values: object) -> None:
    """Write columns of a rollout."""
    tx.execute(update(TABLE).where(TABLE.c.id == rollout_id).values(**values))


def note(tx: Connection, row: Trial, decision: Decision) -> None:
    """Keep a decision as the newest, and a point of it for the charts if there is new evidence."""
    history = list(row.history)
    if row.latest is None or row.latest.units != decision.units or row.latest.checks != decision.checks:
        history.append(_point(decision))
    if len(history) > POINTS:
        history = [*history[:-1:2], history[-1]]
    change(
        tx,
        row.id,
        latest=msgspec.json.encode(decision).decode(),
        history=msgspec.json.encode(history).decode(),
    )


def _point(decision: Decision) -> dict[str, Any]:
    return {
        "at": decision.decided_at,
        "step": decision.step,
        "units": decision.units,
        "checks": {
            c.name: {
                "harm": c.log_e_harm / c.bar_harm,
                "margin": c.log_e_margin / c.bar_margin,
                "estimate": c.estimate,
                "low": c.low,
                "high": c.high,
            }
            for c in decision.checks
        },
    }
