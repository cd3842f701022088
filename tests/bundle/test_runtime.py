import subprocess
import sys

import numpy as np
import pytest

from shipway import bundle
from shipway.errors import Unavailable

LIGHT = """
import sys
from pathlib import Path
from shipway import bundle
audited = bundle.audit(bundle.read(Path(sys.argv[1])))
runtime = bundle.open(audited, bundle.DEFAULT)
signature = audited.manifest.signature
runtime.predict(bundle.coerce(signature, bundle.examples(audited).rows))
heavy = {"pandas", "pyarrow", "sklearn", "onnx", "lightgbm", "sqlalchemy", "pydantic", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_model_is_served_without_telemetry_or_any_file_in_the_users_folders(packed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "shipway.bundle.proof", str(packed.folder)],
        env={"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "ORT_DISABLE_TELEMETRY": "0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def opened(packed):
    runtime = bundle.open(bundle.audit(bundle.read(packed.folder)), bundle.DEFAULT)
    yield runtime
    runtime.close()


def test_opening_and_answering_imports_the_data_plane_alone(packed):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(packed.folder)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_a_classifier_answers_the_label_of_its_largest_probability(opened):
    rows = [{"job": "cook", "age": 20, "income": 100.0}, {"job": "king", "age": 79, "income": 100.0}]

    answer = opened.predict(bundle.coerce(opened.manifest.signature, rows))

    assert answer["label"].tolist() == ["no", "yes"]
    np.testing.assert_allclose(answer["probability"].sum(axis=1), 1.0)


def test_the_same_rows_get_the_same_answer_bit_for_bit(opened):
    rows = [{"job": "pilot", "age": 33, "income": 80.5}] * 3
    columns = bundle.coerce(opened.manifest.signature, rows)

    first, second = opened.predict(columns), opened.predict(columns)

    assert first["probability"].tobytes() == second["probability"].tobytes()


def test_a_closed_model_says_so(packed):
    runtime = bundle.open(bundle.audit(bundle.read(packed.folder)), bundle.DEFAULT)
    columns = bundle.coerce(runtime.manifest.signature, [{"job": "pilot", "age": 33, "income": 80.5}])
    runtime.close()
    runtime.close()

    with pytest.raises(Unavailable, match="closed"):
        runtime.predict(columns)
