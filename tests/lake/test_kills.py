import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("work", "stride", "fewest", "labels"), [("collecting", 7, 5, 0), ("committing", 41, 4, 0), ("labelling", 47, 3, 1)]
)
def test_kill_9_between_any_two_steps_loses_nothing_and_doubles_nothing(tmp_path, work, stride, fewest, labels):
    """The strides only keep this short: every single step passes too."""
    script = Path(__file__).with_name("kill_at_each_step.py")

    ran = subprocess.run([sys.executable, script, tmp_path, work, str(stride)], capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr
    end = json.loads(ran.stdout)
    rounds = end["kills"] + 1
    rows = rounds * (2 if labels else 6)
    assert end["kills"] >= fewest
    assert end == {
        "kills": end["kills"],
        "rows": rows,
        "distinct": rows,
        "profiled": rows,
        "waiting": 0,
        "spool": 0,
        "incoming": 0,
        "labels": labels * rows,
    }
