"""What models, endpoints, policies, captures and tokens belong to; a single user has one, called default."""

from sqlalchemy import Connection, insert, select

from shipway import ledger
from shipway.database.schema import project
from shipway.terms import name


def create_project(tx: Connection, named: str, *, actor: str, now: float) -> bool:
    """Make a project; return False if it was there.

    Raises:
        Rejected: the name is not written as one.
    """
    name(named, "project")
    if tx.execute(select(project.c.name).where(project.c.name == named)).first() is not None:
        return False
    tx.execute(insert(project).values(name=named, created_at=now))
    ledger.append(
        tx, project=named, actor=actor, kind="project.created", subject=f"project:{named}", payload={}, now=now
    )
    return True


def projects(tx: Connection) -> list[str]:
    """List projects by name."""
    return list(tx.execute(select(project.c.name).order_by(project.c.name)).scalars())
