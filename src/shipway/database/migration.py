"""Bring a database to the newest tables, in this process and from files of this package.

Where nothing is to be done this is one SELECT, and Alembic is not even imported.
The newest revision is written here, so that a test can hold it against the files in `versions/`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from shipway.errors import Conflict

HEAD = "0001"
"""Revision of the newest file in `versions/`."""

type_of_opener = Callable[[], AbstractContextManager[Connection]]


def current(tx: Connection) -> str | None:
    """Return the revision a database is at, or None for an empty one."""
    if not inspect(tx).has_table("alembic_version"):
        return None
    found: str | None = tx.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def migrate(read: type_of_opener, transaction: type_of_opener, path: Path) -> None:
    """Run every migration that is missing, all in one transaction.

    Raises:
        Conflict: the database is at a revision that this release does not know.
    """
    with read() as tx:
        if current(tx) == HEAD:
            return

    from alembic.operations import Operations  # noqa: PLC0415 - 120 ms that a current database need not pay
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415 - the same
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - the same

    folder = Path(__file__).parent
    scripts = ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])
    with transaction() as tx:
        at = current(tx)  # looked at again: another process may have migrated meanwhile
        known = {script.revision: script for script in scripts.walk_revisions()}
        if at is not None and at not in known:
            raise Conflict(
                f"the database {path} is at revision {at}, and this release knows only up to {HEAD}",
                fix="install the newer release of shipway that made it, or name another home",
            )
        context = MigrationContext.configure(tx)
        with Operations.context(context):
            for script in reversed(list(scripts.walk_revisions(base=at or "base"))):
                if script.revision != at:
                    script.module.upgrade()
        context.stamp(scripts, "head")
