"""Write the reference pages from the code: settings, errors, routes, tables. `--check` fails if a page is stale.

python docs/build.py [--check]
"""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HERE = Path(__file__).parent / "reference"


def attribute_docs(module: Any, named: str) -> list[tuple[str, str, str, str]]:
    """Give the fields of a class: (name, type, default, the prose below)."""
    tree = ast.parse(inspect.getsource(module))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == named).body
    rows = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign):
            continue
        is_prose = (
            isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
        )
        prose = " ".join(after.value.value.split()) if is_prose else ""
        rows.append(
            (
                ast.unparse(node.target),
                ast.unparse(node.annotation),
                ast.unparse(node.value) if node.value else "",
                prose,
            )
        )
    return rows


def settings_page() -> str:
    """Every setting, its variable, its default and what it means."""
    from shipway import settings

    lines = [
        "# Settings",
        "",
        "From weakest to strongest: default, `shipway.toml`, `SHIPWAY_<NAME>` in the environment, command line.",
        "`shipway config show` prints every value and where it came from.",
        "",
        "| setting | environment | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, _kind, default, prose in attribute_docs(settings, "Settings"):
        if not name.startswith("_") and name != "origins":
            lines.append(f"| `{name}` | `SHIPWAY_{name.upper()}` | `{default or 'see text'}` | {prose} |")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Every error class, its status and exit code."""
    from shipway import errors

    lines = [
        "# Errors",
        "",
        inspect.cleandoc(errors.__doc__ or ""),
        "",
        "| class | HTTP | exit | means |",
        "|---|---|---|---|",
    ]
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.ShipwayError):
            lines.append(f"| `{name}` | {kind.status} | {kind.exit_code} | {(kind.__doc__ or '').splitlines()[0]} |")
    text = "\n".join(lines) + "\n"
    before, tree = text.split("    ShipwayError", 1)
    return before + "    ShipwayError" + tree


def routes_page() -> str:
    """Every route of the REST API."""
    from shipway.api import create_app

    app = create_app(SimpleNamespace(settings=None, database=None, bundles=None, lake=None, clock=lambda: 0.0))
    lines = [
        "# REST routes",
        "",
        "A running control plane shows the same at `/docs`, with the form of every body.",
        "",
        "| route | does |",
        "|---|---|",
    ]
    for path, methods in sorted(app.openapi()["paths"].items()):
        for method, route in methods.items():
            said = (route.get("description") or route.get("summary") or "").strip().splitlines()
            lines.append(f"| `{method.upper()} {path}` | {said[0] if said else ''} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Every command, as `--help` prints it."""
    done = subprocess.run([sys.executable, "-m", "shipway.cli.reference"], capture_output=True, text=True, check=True)
    return done.stdout


POLICIES = {
    "gate": ("gate.toml", {"Options": "[gate]", "Check": "[[check]]"}),
    "rollout": (
        "rollout.toml",
        {"Rules": "[rollout]", "Guardrail": "[[guardrail]]", "Step": "[[step]]", "Checks": "[checks]"},
    ),
    "monitor": (
        "monitor.toml",
        {"Policy": "[monitor]", "Quality": "[quality]", "Performance": "[performance]", "Silence": "[silence]",
         "Alert": "[[alert]]"},
    ),
    "retrain": ("retrain.toml", {"Policy": "[retrain]"}),
}  # fmt: skip


def policies_page() -> str:
    """Every policy file: what holds without one, and every key."""
    lines = [
        "# Policies",
        "",
        "Four TOML files, kept with your code and handed over with `shipway deploy --policy KIND=FILE` or",
        "`shipway endpoint set --policy KIND=FILE`. Their text goes into the ledger with every decision taken under",
        "them. A key that is unknown, or that this release would have to ignore, is an error that names it.",
    ]
    for room, (file, tables) in POLICIES.items():
        module = importlib.import_module(f"shipway.{room}.policy")
        lines += ["", f"## {file}", "", "Without a file this holds:", "", "```", module.DEFAULT_TOML.strip(), "```"]
        for kind, table in tables.items():
            lines += ["", f"### {table}", "", "| key | default | meaning |", "|---|---|---|"]
            nested = {inner.strip("[]") for inner in tables.values()} - {table.strip("[]")}
            for name, _kind, default, prose in attribute_docs(module, kind):
                if name not in nested:
                    lines.append(f"| `{name}` | `{default or 'required'}` | {prose} |".replace("| | |", "| |"))
    return "\n".join(lines) + "\n"


PAGES = {
    HERE / "policies.md": policies_page,
    HERE / "settings.md": settings_page,
    HERE / "errors.md": errors_page,
    HERE / "routes.md": routes_page,
    HERE.parent / "cli.md": cli_page,
}


def main() -> int:
    """Write the pages, or say which are stale."""
    stale = []
    for path, make in PAGES.items():
        text = make()
        if not path.exists() or path.read_text() != text:
            stale.append(path)
            if "--check" not in sys.argv:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                print(f"wrote {path.relative_to(HERE.parent.parent)}")
    if "--check" in sys.argv and stale:
        print("stale: " + ", ".join(str(path.relative_to(HERE.parent.parent)) for path in stale) + "\n  fix: ./do docs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
