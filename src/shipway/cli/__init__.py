"""The command line: parse, call one function, print.

`main` is what `shipway` runs. Commands are loaded when they are called, so `shipway --help` imports none of
them. Files are worked on here; everything else goes to the control plane through `shipway.client`, as
the principal of the token in the context. There is no second path.

Exit status: 0 done or pass, 1 no, 2 usage, 3 broken machinery, 4 undecided or awaiting approval. A
failure is two lines on standard error: the sentence, then `  fix:` and what to do.
"""

import sys
from collections.abc import Sequence

__all__ = ["commands", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of this process, and return its exit status."""
    try:
        from shipway.cli.entry import main as run
    except ModuleNotFoundError as exc:
        if exc.name != "typer":
            raise
        print(
            "the command line is not part of the base installation\n  fix: pip install 'shipway[platform]'",
            file=sys.stderr,
        )
        return 3
    return run(arguments)


def commands() -> list[tuple[str, str]]:
    """List every command with its line of help, subcommands as `rollout start`. Loads them all."""
    from shipway.cli.reference import walk

    return [(" ".join(entry.path), entry.summary) for entry in walk()]
