import subprocess
import sys

import pytest

from shipway import capture

HEAVY = {"pandas", "pyarrow", "sqlalchemy", "pyiceberg", "duckdb", "onnxruntime", "fastapi", "pydantic"}


def test_a_worker_that_captures_imports_nothing_heavy():
    code = "import sys; from shipway.capture import *; from shipway.capture import " + ", ".join(dir(capture))
    code += "; print(*sorted({m.partition('.')[0] for m in sys.modules}))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert "numpy" in loaded
    assert HEAVY.isdisjoint(loaded)


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(capture, name) for name in dir(capture))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = capture.nonsense
