"""Open the metadata database and hand out transactions.

SQLite in WAL mode, `synchronous=FULL`: what a transaction wrote is on disk when its block ends, and readers
never wait for writers. Writing begins with BEGIN IMMEDIATE, so that two writers queue at the start of
their transactions instead of failing at the end of them.

Not here: PostgreSQL, which needs its own triggers, lease clock and ledger lock.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shipway.database.migration import migrate
from shipway.errors import Broken, Rejected, ShipwayError, Unavailable

BUSY_S = 10.0
"""How long a transaction waits for another process to finish writing."""


class Database:
    """Owns the connections to one metadata database; usable from any thread, closed once.

    Laws: a transaction is seen by others whole or not at all, also after kill -9 at any point; two
    transactions that write never overlap; `read` gives one picture however long it is open.
    """

    def __init__(self, path: Path, busy_s: float = BUSY_S) -> None:
        self.path = path
        self._busy_s = busy_s
        # One connection writes: threads queue for it fairly, where SQLite's own lock would let them starve.
        self._writer = _engine(path, busy_s, "BEGIN IMMEDIATE", pool_size=1, max_overflow=0, pool_timeout=busy_s)
        self._readers = _engine(path, busy_s, "BEGIN", "PRAGMA query_only = ON", pool_size=4, max_overflow=60)
        self._thread = threading.local()

    @classmethod
    def open(cls, url: str, *, busy_s: float = BUSY_S) -> Self:
        """Open the database at `url`, `sqlite:///PATH`, and make its folder and file if they are not there.

        Args:
            url: of the database.
            busy_s: seconds that a transaction waits for others to finish writing.

        Raises:
            Rejected: it is not such a URL, or the file there is no SQLite database.
            Unavailable: the file cannot be opened.
        """
        path = _path(url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise Unavailable(
                f"cannot make the folder {path.parent} for the database: {exc.strerror}",
                fix="choose a folder you may write to, in SHIPWAY_HOME or SHIPWAY_DATABASE_URL",
            ) from exc
        with _in_our_words(path, busy_s):
            _switch_to_wal(path, busy_s)
        return cls(path, busy_s)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction for writing; it commits at the end of the block and rolls back on any exception.

        Raises:
            Unavailable: another process kept the database for `busy_s`, or the disk is full.
            Broken: this thread has a transaction open already; it would wait for itself.
        """
        if getattr(self._thread, "writes", False):
            raise Broken(
                f"this thread already has a transaction open on {self.path.name}",
                fix="pass the open `tx` on instead of opening another; report this if you did not write the code",
            )
        self._thread.writes = True
        try:
            with _in_our_words(self.path, self._busy_s), self._writer.begin() as tx:
                yield tx
        finally:
            self._thread.writes = False

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open one consistent picture of the database; writing to it is refused."""
        with _in_our_words(self.path, self._busy_s), self._readers.begin() as tx:
            yield tx

    def migrate(self) -> None:
        """Bring the tables to what this release expects; does nothing where they are.

        Raises:
            Conflict: the database was made by a newer release.
        """
        migrate(self.read, self.transaction, self.path)

    def close(self) -> None:
        """Close every connection that no one is using."""
        self._writer.dispose()
        self._readers.dispose()


def _path(url: str) -> Path:
    fix = "write it like sqlite:////home/me/shipway.db, or leave SHIPWAY_DATABASE_URL unset"
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise Rejected("the database URL cannot be read", fix=fix) from exc
    if parsed.get_backend_name() != "sqlite":
        raise Rejected(f"this release keeps its metadata in SQLite, not in {parsed.get_backend_name()}", fix=fix)
    if not parsed.database or parsed.database == ":memory:" or parsed.query:
        raise Rejected("the database must be a file, because several processes share it", fix=fix)
    return Path(parsed.database).absolute()


def _engine(path: Path, busy_s: float, begin: str, *pragmas: str, **pool: float) -> Engine:
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args={"timeout": busy_s, "check_same_thread": False}, **pool)

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in ("PRAGMA foreign_keys = ON", "PRAGMA synchronous = FULL", *pragmas):
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _switch_to_wal(path: Path, busy_s: float) -> None:
    """Make the file a WAL database, once and for all who open it later.

    SQLite does not wait for its busy timeout here, so several processes that start at once must retry.
    """
    deadline = time.monotonic() + busy_s
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None)
    try:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return
    finally:
        connection.close()


@contextmanager
def _in_our_words(path: Path, busy_s: float) -> Iterator[None]:
    """Turn what SQLite says into the decision that the caller can take."""
    try:
        yield
    except PoolTimeout as exc:
        raise _busy(path, busy_s) from exc
    except (DBAPIError, sqlite3.Error) as exc:
        if (ours := _translated(path, busy_s, exc.orig if isinstance(exc, DBAPIError) else exc)) is not None:
            raise ours from exc
        raise


def _busy(path: Path, busy_s: float) -> Unavailable:
    return Unavailable(
        f"the database {path} was busy for {busy_s:g} s",
        fix="try again; if it stays so, see which process holds it with `shipway doctor`",
    )


def _translated(path: Path, busy_s: float, exc: BaseException | None) -> ShipwayError | None:
    said = str(exc)
    if "locked" in said:
        return _busy(path, busy_s)
    if "disk is full" in said or "disk I/O" in said:
        return Unavailable(f"the disk under {path} is full or failing; nothing was written", fix="free space there")
    if "readonly" in said:
        return Broken(
            f"something tried to write to {path} through a connection for reading",
            fix="if the file is yours to write, report this; else check its owner and mode",
        )
    if "unable to open" in said:
        return Unavailable(f"cannot open the database {path}", fix="check that its folder exists and is yours to write")
    if "not a database" in said or "malformed" in said:
        return Rejected(
            f"{path} is not a sound SQLite database",
            fix="restore it from a backup, or name another file in SHIPWAY_DATABASE_URL",
        )
    return None
