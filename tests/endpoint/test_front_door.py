"""The front door gives what it tells type checkers, and nothing of SQL before it is asked for."""

import ast
from pathlib import Path

import pytest

from shipway import endpoint


def test_every_name_that_type_checkers_see_is_there_at_run_time():
    told = ast.parse((Path(endpoint.__file__).with_suffix(".pyi")).read_text())
    names = [alias.name for node in told.body if isinstance(node, ast.ImportFrom) for alias in node.names]

    assert {n for n in dir(endpoint) if n in names} == set(names)
    assert all(callable(getattr(endpoint, n)) for n in names)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'tabel'"):
        endpoint.tabel  # noqa: B018
