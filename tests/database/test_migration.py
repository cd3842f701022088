"""Migrations make what the schema says, once, quickly and wherever they are run from."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from shipway.database import Database, migration, schema
from shipway.errors import Conflict


def definitions(path):
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute(
            "select name, sql from sqlite_master where type in ('table', 'index') and sql is not null"
        ).fetchall()
    finally:
        connection.close()
    return {name: " ".join(sql.split()) for name, sql in rows if name != "alembic_version"}


def test_migrations_make_exactly_the_tables_of_the_schema(database, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'schema.db'}")
    schema.metadata.create_all(engine)
    engine.dispose()

    with database.read() as tx:
        differences = compare_metadata(MigrationContext.configure(tx), schema.metadata)

    assert differences == []
    assert definitions(database.path) == definitions(tmp_path / "schema.db")


def test_the_newest_file_is_the_revision_that_the_code_expects():
    folder = Path(migration.__file__).parent
    scripts = ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])

    assert scripts.get_heads() == [migration.HEAD]


def test_migrating_again_changes_nothing_and_does_not_even_import_alembic(database):
    before = definitions(database.path)
    code = (
        "import sys; from shipway.database import Database\n"
        f"d = Database.open('sqlite:///{database.path}'); d.migrate(); d.close()\n"
        "sys.exit('alembic' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)

    assert done.returncode == 0
    assert definitions(database.path) == before


def test_a_database_of_a_newer_release_is_refused_and_left_alone(database):
    with database.transaction() as tx:
        tx.exec_driver_sql("update alembic_version set version_num = '9999'")

    with pytest.raises(Conflict, match="revision 9999"):
        database.migrate()


def test_migrating_leaves_only_the_database_in_its_folder(database):
    assert {p.name for p in database.path.parent.iterdir()} <= {"shipway.db", "shipway.db-wal", "shipway.db-shm"}


def test_processes_that_migrate_the_same_new_file_at_once_all_succeed(tmp_path):
    code = (
        "from shipway.database import Database\n"
        f"d = Database.open('sqlite:///{tmp_path / 'new.db'}'); d.migrate(); d.close()"
    )

    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]

    assert [p.wait(timeout=60) for p in started] == [0, 0, 0, 0]
    opened = Database.open(f"sqlite:///{tmp_path / 'new.db'}")
    with opened.read() as tx:
        assert migration.current(tx) == migration.HEAD
    opened.close()
