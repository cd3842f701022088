"""Write the reference of the command line: `python -m shipway.cli.reference > docs/cli.md`."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from shipway.cli.entry import app

WIDTH = 100
HEAD = """# Command line

Every command takes `--json` and then prints exactly one JSON object on standard output. A failure is two
lines on standard error, what happened and what to do; with `--json` it is `{"error": ..., "fix": ...}`.
`SHIPWAY_DEBUG=1` shows where it failed.

| exit status | means |
|---|---|
| 0 | done, or pass |
| 1 | no: fail, mismatch, someone moved first |
| 2 | wrong usage, or no such thing |
| 3 | the machinery failed, or is not there |
| 4 | undecided, or awaiting approval |

A *REF* is `name` (its champion, else its newest version), `name@alias`, `name:version` or a digest. Commands
that talk to the control plane take `--url` and `--token`; without them they use `SHIPWAY_URL` and
`SHIPWAY_TOKEN`, and without those the context that `shipway up` wrote.

This page is made from the commands themselves by `python -m shipway.cli.reference`.
"""


@dataclass(frozen=True)
class Entry:
    """One command: its names from the top, its line of help, all of its help."""

    path: tuple[str, ...]
    summary: str
    help: str


def walk() -> Iterator[Entry]:
    """Yield every command that does something, in the order of `shipway --help`."""
    yield from _walk(typer.main.get_command(app()), ())


def _walk(command: Any, path: tuple[str, ...], parent: Any = None) -> Iterator[Entry]:  # noqa: ANN401 - typer vendors click's classes
    name = path[-1] if path else "shipway"
    context = command.make_context(
        name, [], parent=parent, resilient_parsing=True, max_content_width=WIDTH, terminal_width=WIDTH
    )
    if not hasattr(command, "list_commands"):
        yield Entry(path, command.get_short_help_str(200), command.get_help(context))
        return
    for inner in command.list_commands(context):
        yield from _walk(command.get_command(context, inner), (*path, inner), context)


def page() -> str:
    """Return the whole reference as Markdown."""
    parts = [HEAD]
    for entry in walk():
        text = re.sub(r"[ \t]+$", "", entry.help, flags=re.MULTILINE)
        parts.append(f"## shipway {' '.join(entry.path)}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
