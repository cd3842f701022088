"""Fixtures for the tests of the data plane; what they are made of is in the modules next to this one."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are no package; the modules have names of their own

from serve_scenes import Home, Server


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def start(home):
    """Start servers that end with the test."""
    servers = []

    def begin(**options):
        servers.append(Server(home, **options))
        return servers[-1]

    yield begin
    for server in servers:
        server.kill()
        if not server.log.closed:
            server.log.close()
