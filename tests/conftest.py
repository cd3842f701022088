"""What all tests share: where larger data is, and the switch that turns a skip into a failure."""

import os
from pathlib import Path

import hypothesis
import pytest

# A shared core may take a second for what needs a millisecond, which says nothing about the law under test.
hypothesis.settings.register_profile("shared-cores", deadline=None, print_blob=True)
hypothesis.settings.load_profile("shared-cores")


@pytest.fixture(scope="session")
def test_data():
    """Folder of real data files; tests that need it skip where `SHIPWAY_TEST_DATA` does not name one."""
    folder = os.environ.get("SHIPWAY_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SHIPWAY_TEST_DATA does not name a folder with the larger data sets")
    return Path(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """In CI (`SHIPWAY_TEST_NO_SKIPS=1`) everything a test may need is installed, so a skip is a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("SHIPWAY_TEST_NO_SKIPS") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"
    return report
