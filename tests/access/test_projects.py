"""Projects are made once."""

import pytest

from shipway import access, ledger
from shipway.errors import Rejected


def test_a_project_is_made_once_and_listed(database):
    with database.transaction() as tx:
        made = [access.create_project(tx, n, actor="ann", now=1.0) for n in ("eu", "default", "eu")]

        assert made == [True, True, False]
        assert access.projects(tx) == ["default", "eu"]
        assert [e.subject for e in ledger.entries(tx, kind="project.created")] == ["project:eu", "project:default"]


@pytest.mark.parametrize("bad", ["", "..", "a/b", "EU", "x" * 65])
def test_a_name_that_could_mean_something_else_is_rejected(database, bad):
    with database.transaction() as tx, pytest.raises(Rejected, match="cannot name a project"):
        access.create_project(tx, bad, actor="ann", now=1.0)
