"""A migrated database in a folder of its own."""

import pytest

from shipway.database import Database


@pytest.fixture
def database(tmp_path):
    opened = Database.open(f"sqlite:///{tmp_path / 'shipway.db'}")
    opened.migrate()
    yield opened
    opened.close()
