"""Settings come from where they say, and a wrong one stops the start."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.errors import Rejected
from shipway.settings import FIELDS, discover, load

HOME = {"HOME": "/home/ann"}


def test_a_start_without_anything_works_and_says_that_all_is_default():
    settings = load(HOME, None)

    assert settings.home == Path("/home/ann/.local/share/shipway")
    assert (settings.control_port, settings.workers, settings.durability) == (8787, 1, "interval")
    assert settings.metadata_url == "sqlite:////home/ann/.local/share/shipway/shipway.db"
    assert settings.catalog_url == "sqlite:////home/ann/.local/share/shipway/lake.db"
    assert set(settings.origins.values()) == {"default"}


def test_everything_is_below_home():
    settings = load(HOME, None, home="/srv/shipway")

    folders = [
        settings.bundles, settings.lake, settings.incoming, settings.routes, settings.logs, settings.servers,
        settings.context_file,
    ]  # fmt: skip
    assert {f.parent for f in folders} == {Path("/srv/shipway")}


@pytest.mark.parametrize(
    ("data", "home"),
    [("/data", "/data/shipway"), ("data", "/home/ann/.local/share/shipway"), ("", "/home/ann/.local/share/shipway")],
)
def test_home_follows_the_desktop_specification(data, home):
    assert load({**HOME, "XDG_DATA_HOME": data}, None).home == Path(home)


def test_the_nearer_source_wins_and_is_remembered(tmp_path):
    toml = tmp_path / "shipway.toml"
    toml.write_text("workers = 2\ncontrol_port = 1\ntick_s = 3\n")

    settings = load({**HOME, "SHIPWAY_WORKERS": "3", "SHIPWAY_CONTROL_PORT": "2"}, toml, workers=4, server_port=None)

    assert (settings.workers, settings.control_port, settings.tick_s, settings.server_port) == (4, 2, 3.0, 8786)
    assert {n: settings.origins[n] for n in ("workers", "control_port", "tick_s", "server_port")} == {
        "workers": "option --workers",
        "control_port": "environment SHIPWAY_CONTROL_PORT",
        "tick_s": str(toml),
        "server_port": "default",
    }


def test_an_empty_variable_is_one_that_is_not_set():
    assert load({**HOME, "SHIPWAY_WORKERS": ""}, None).workers == 1


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("WORKERS", "two", "a whole number"),
        ("WORKERS", "0", "a whole number, at least 1"),
        ("CONTROL_PORT", "70000", "a whole number, at most 65535"),
        ("SERVER_PORT", "-1", "a whole number, at least 0"),
        ("TICK_S", "0", "a number, above 0"),
        ("TICK_S", "nan", "a number"),
        ("TICK_S", "inf", "a number"),
        ("DURABILITY", "always", "one of none, interval, request"),
        ("SEGMENT_BYTES", "8 MiB", "a whole number"),
    ],
)
def test_a_wrong_value_stops_the_start_and_says_what_would_be_accepted(name, value, wanted):
    with pytest.raises(Rejected) as caught:
        load({**HOME, f"SHIPWAY_{name}": value}, None)

    assert str(caught.value) == f"setting {name.lower()} is {value!r}, from environment SHIPWAY_{name}"
    assert wanted in caught.value.fix


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wrokers = 2", "'wrokers' from"),
        ("workers = '2x'", "setting workers is '2x'"),
        ("workers = 2.5", "setting workers is 2.5"),
        ("workers = true", "setting workers is True"),
        ("workers =", "is not TOML"),
        ("[workers]\na = 1", "setting workers is"),
        ("origins = {}", "'origins' from"),
        ("home = 3", "setting home is 3"),
    ],
)
def test_a_wrong_file_stops_the_start_and_names_itself(tmp_path, text, says):
    toml = tmp_path / "shipway.toml"
    toml.write_text(text)

    with pytest.raises(Rejected) as caught:
        load(HOME, toml)

    assert says in str(caught.value)
    assert str(toml) in str(caught.value)


def test_a_misspelt_name_is_answered_with_the_right_one(tmp_path):
    (tmp_path / "shipway.toml").write_text("wrokers = 2")

    with pytest.raises(Rejected) as caught:
        load(HOME, tmp_path / "shipway.toml")

    assert "did you mean 'workers'?" in caught.value.fix


def test_a_file_that_was_named_and_is_not_there_stops_the_start(tmp_path):
    with pytest.raises(Rejected, match="cannot read the settings file"):
        load(HOME, tmp_path / "none.toml")


def test_the_file_is_the_named_one_else_the_one_here_else_none(tmp_path):
    assert discover({}, tmp_path) is None
    (tmp_path / "shipway.toml").touch()
    assert discover({}, tmp_path) == tmp_path / "shipway.toml"
    assert discover({"SHIPWAY_CONFIG": "/etc/shipway.toml"}, tmp_path) == Path("/etc/shipway.toml")


def test_a_token_is_never_shown():
    settings = load({**HOME, "SHIPWAY_TOKEN": "sw_secret"}, None)

    shown = settings.shown()

    assert [s.name for s in shown] == list(FIELDS)
    assert not any("sw_secret" in line for s in shown for line in s)
    assert next(s for s in shown if s.name == "token").value == "(set)"


@given(st.integers(1, 10**6))
def test_a_number_means_the_same_from_every_source(n):
    assert load({**HOME, "SHIPWAY_WORKERS": str(n)}, None).workers == load(HOME, None, workers=n).workers == n


def test_reading_settings_imports_nothing_heavy():
    code = (
        "import sys, shipway.settings; print(sorted({'numpy', 'sqlalchemy', 'pydantic', 'asyncio'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)

    assert done.stdout == "[]\n"
