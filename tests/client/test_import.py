import subprocess
import sys


def test_importing_shipway_or_its_client_loads_no_heavy_package():
    code = (
        "import sys, shipway; from shipway import Client, Predictor; "
        "heavy = {'numpy', 'fastapi', 'sqlalchemy', 'pyarrow', 'pandas', 'onnxruntime', 'typer'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_rooms_are_attributes_of_the_package():
    code = "import shipway; print(shipway.errors.Missing.__name__, shipway.terms.FORMAT); shipway.nothing"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout.strip() == "Missing 1"
    assert "has no attribute 'nothing'" in done.stderr
