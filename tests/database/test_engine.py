"""A transaction is all or nothing, for threads, processes, full disks and kill -9."""

# ruff: noqa: PT012 - the exception leaves a whole transaction, which is what is tested

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, insert, select, update

from shipway.database import Database, schema
from shipway.errors import Broken, Rejected, Unavailable

PAIRS = """
import sys, itertools
from sqlalchemy import insert
from shipway.database import Database, schema
database = Database.open(sys.argv[1])
for n in itertools.count(int(sys.argv[2])):
    with database.transaction() as tx:
        tx.execute(insert(schema.project).values(name=f"p{n}", created_at=n))
        if sys.argv[3] == "hang":
            print("inside", flush=True)
            import time; time.sleep(60)
        tx.execute(insert(schema.server).values(name=f"p{n}", seen_at=n, epoch=n))
    print(n, flush=True)
"""


def pair_counts(database):
    with database.read() as tx:
        return tuple(
            tx.execute(select(func.count()).select_from(t)).scalar_one() for t in (schema.project, schema.server)
        )


def start(database, first, manner):
    command = [sys.executable, "-c", PAIRS, f"sqlite:///{database.path}", str(first), manner]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_kill_9_inside_a_transaction_leaves_the_state_before_it(database):
    process = start(database, 0, "hang")
    assert process.stdout.readline() == "inside\n"

    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)

    assert pair_counts(database) == (0, 0)
    with database.transaction() as tx:  # and its lock is gone with it
        tx.execute(insert(schema.project).values(name="next", created_at=0.0))


def test_kill_9_at_any_moment_loses_no_transaction_that_ended_and_keeps_no_half(database):
    acknowledged = 0
    for round_ in range(3):
        process = start(database, 10_000 * round_, "run")
        for _ in range(5 + 3 * round_):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=30)
        acknowledged += 5 + 3 * round_ + rest.count("\n")

        projects, servers = pair_counts(database)

        assert projects == servers
        assert acknowledged <= projects <= acknowledged + round_ + 1


def test_threads_that_count_together_lose_no_step(database):
    with database.transaction() as tx:
        tx.execute(insert(schema.server).values(name="s", seen_at=0.0, epoch=0))

    def add(_):
        with database.transaction() as tx:
            epoch = tx.execute(select(schema.server.c.epoch)).scalar_one()
            tx.execute(update(schema.server).values(epoch=epoch + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(80)))

    with database.read() as tx:
        assert tx.execute(select(schema.server.c.epoch)).scalar_one() == 80


def test_an_exception_rolls_everything_back_and_arrives_unchanged(database):
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        tx.execute(insert(schema.project).values(name="p", created_at=0.0))
        1 / 0  # noqa: B018

    assert pair_counts(database) == (0, 0)


def test_a_reader_sees_one_picture_however_long_it_looks(database):
    with database.read() as before:
        assert before.execute(select(func.count()).select_from(schema.project)).scalar_one() == 0
        with database.transaction() as tx:
            tx.execute(insert(schema.project).values(name="p", created_at=0.0))

        assert before.execute(select(func.count()).select_from(schema.project)).scalar_one() == 0
    assert pair_counts(database) == (1, 0)


def test_a_reader_cannot_write(database):
    with pytest.raises(Broken, match="for reading"), database.read() as tx:
        tx.execute(insert(schema.project).values(name="p", created_at=0.0))


def test_a_second_transaction_in_one_thread_is_refused_instead_of_waiting_for_itself(database):
    with database.transaction(), pytest.raises(Broken, match="already has a transaction"), database.transaction():
        pass

    with database.transaction() as tx:  # and the first one's end frees the thread
        tx.execute(insert(schema.project).values(name="p", created_at=0.0))


def test_a_foreign_key_is_enforced(database):
    with pytest.raises(Exception, match="FOREIGN KEY"), database.transaction() as tx:
        row = {"project": "p", "model": "m", "version": 1, "digest": "d", "manifest": "{}", "created_by": "ann"}
        tx.execute(insert(schema.version).values(row | {"created_at": 0.0}))


def test_waiting_too_long_for_another_writer_is_said_so(database):
    impatient = Database.open(f"sqlite:///{database.path}", busy_s=0.05)

    with database.transaction(), pytest.raises(Unavailable, match=r"was busy for 0\.05 s"), impatient.transaction():
        pass

    impatient.close()


def test_a_full_disk_writes_nothing_and_is_said_so(database):
    with pytest.raises(Unavailable, match="full"), database.transaction() as tx:
        tx.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite raises it to the pages that are there
        tx.execute(insert(schema.project), [{"name": f"p{n}" + "x" * 500, "created_at": 0.0} for n in range(2000)])

    assert pair_counts(database) == (0, 0)


def test_commits_are_on_disk_before_the_block_ends(database):
    with database.transaction() as tx:
        assert tx.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "sqlite://", "sqlite:///:memory:", "postgresql://me:secret@host/db", "sqlite:////x/y.db?mode=ro"],
)
def test_a_url_that_cannot_hold_the_metadata_is_rejected_without_showing_its_password(url):
    with pytest.raises(Rejected) as caught:
        Database.open(url)

    assert "sqlite:////home" in caught.value.fix
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_rejected_and_kept(tmp_path):
    (tmp_path / "shipway.db").write_text("name,age\n" * 1000)

    with pytest.raises(Rejected, match="not a sound SQLite database"):
        Database.open(f"sqlite:///{tmp_path / 'shipway.db'}")

    assert (tmp_path / "shipway.db").read_text().startswith("name,age")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable, match="cannot make the folder"):
        Database.open(f"sqlite:///{tmp_path / 'file' / 'home' / 'shipway.db'}")


def test_a_folder_may_have_any_name(tmp_path):
    opened = Database.open(f"sqlite:///{tmp_path / 'my models 100% (köln)' / 'shipway.db'}")
    opened.migrate()
    opened.close()

    assert (tmp_path / "my models 100% (köln)" / "shipway.db").is_file()
