import subprocess
import sys

import pytest

from shipway.cli import commands
from shipway.cli.menu import MENU
from shipway.cli.reference import page, walk


def run(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, **options)


def test_help_lists_every_command_and_loads_none():
    code = "import sys; from shipway.cli import main; status = main(['--help']); loaded = set(sys.modules); \
        heavy = {'fastapi', 'numpy', 'pyarrow', 'pandas', 'sqlalchemy', 'onnxruntime', 'rich', 'shipway.cli.files'}; \
        print(status, sorted(heavy & loaded))"

    done = run("-c", code)

    assert done.stdout.splitlines()[-1] == "0 []"
    for name in MENU:
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize("entry", list(walk()), ids=lambda entry: " ".join(entry.path))
def test_every_command_has_json_and_says_what_it_does(entry):
    assert "--json" in entry.help
    assert entry.summary
    assert not entry.summary.endswith("...")
    assert len(entry.summary) < 120


def test_the_menu_is_what_the_documentation_can_list():
    names = [name for name, _ in commands()]

    assert len(names) == len(set(names))
    assert {name.split()[0] for name in names} == set(MENU)
    for wanted in (
        "demo",
        "up",
        "deploy",
        "rollout start",
        "monitor compare",
        "audit verify",
        "token create",
        "doctor",
    ):
        assert wanted in names


def test_the_reference_page_is_what_the_commands_say(request):
    kept = request.config.rootpath / "docs" / "cli.md"

    assert kept.read_text() == page(), "run: python -m shipway.cli.reference > docs/cli.md"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pakc"], "did you mean `shipway pack`?"),
        (["rollout"], "missing command"),
        (["rollout", "strat"], "start"),
        (["pack"], "missing argument"),
        (["pack", "m.pkl", "--nonsense"], "--nonsense"),
        (["token", "create", "x", "--expires", "soon"], "12h, 90d or 8w"),
        (["up", "--workers", "0"], "workers"),
        (["label", "churn"], "--value or by --file"),
        (["predict", "churn"], "--row or by --file"),
        (["predict", "churn", "--row", "{"], "not a JSON object"),
        (["endpoint", "set", "churn", "nonsense"], "KEY=VALUE"),
        (["endpoint", "set", "churn"], "nothing to change"),
        (["gate", "a b"], "neither a bundle folder nor a reference"),
        (["verify", "nowhere"], "nowhere"),
    ],
)
def test_wrong_usage_is_two_lines_and_status_2(shipway, arguments, said):
    done = shipway(*arguments)

    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 2
    assert done.err.splitlines()[1].startswith("  fix: ")
    assert said in done.err


def test_with_json_a_failure_is_one_object_on_standard_output(shipway):
    done = shipway("list", "--json")

    assert done.code == 3
    assert set(done.json) == {"error", "fix"}
    assert done.err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"], ["deploy", "churn", "--endpoint", "churn"], ["rollout", "status"],
        ["audit", "verify"],
        ["card", "churn"], ["token", "list"], ["monitor", "status", "churn"], ["rollback", "churn"],
        ["retrain", "status"], ["alert", "test", "churn"], ["endpoint", "show", "churn"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_without_a_control_plane_the_fix_says_how_to_start_one(shipway, arguments):
    done = shipway(*arguments)

    assert done.code == 3
    assert "nothing listens at http://127.0.0.1:9" in done.err
    assert "shipway up" in done.err


def test_no_traceback_reaches_a_user_unless_asked_for(tmp_path):
    code = "from shipway.cli import frame, menu, main\nimport typer\napp = frame.group('x')\n\
@frame.command(app, 'list')\ndef crash(session: frame.Session) -> frame.Answer:\n    raise RuntimeError('boom')\n\
menu.MENU['list'] = frame.Item('x', lambda: app)\nimport sys; sys.exit(main(['list']))"

    quiet, loud = run("-c", code), run("-c", code, env={"SHIPWAY_DEBUG": "1", "HOME": str(tmp_path)})

    assert quiet.returncode == loud.returncode == 3
    assert "boom" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


@pytest.mark.parametrize("words", ["config show", "config show --json", "--help", "doctor --help"])
def test_a_reader_that_leaves_early_is_no_failure(words):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m shipway {words} | (exec <&-; sleep 0.5); echo ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_the_release_is_printed(shipway):
    done = shipway("--version")

    assert done.code == 0
    assert done.out.startswith("shipway ")


def test_a_wrong_setting_stops_the_command_with_its_name(shipway, monkeypatch):
    monkeypatch.setenv("SHIPWAY_WORKERS", "many")

    done = shipway("config", "show")

    assert done.code == 2
    assert "SHIPWAY_WORKERS" in done.err


def test_settings_are_shown_with_their_origin_and_the_token_is_not(shipway, monkeypatch):
    monkeypatch.setenv("SHIPWAY_TOKEN", "sw_secret")

    done = shipway("config", "show")

    assert "environment SHIPWAY_HOME" in done.out
    assert "sw_secret" not in done.out
