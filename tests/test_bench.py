"""Benchmarks run as users run them; what they measure is not asserted, for machines differ."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_import_benchmark_prints_one_object_with_every_figure():
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "run.py"), "import", "--json"], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["packages"]) == {"serve", "platform", "test"}
    assert found["import_shipway_s"] > 0
    assert {"help_s", "import_monitor_cpu_s"} < set(found)


def test_an_unknown_benchmark_is_a_usage_error():
    done = subprocess.run([sys.executable, str(ROOT / "bench" / "run.py"), "nothing"], capture_output=True, text=True)

    assert done.returncode == 2
    assert "serve" in done.stderr
