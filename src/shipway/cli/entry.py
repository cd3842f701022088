"""Run the command line and turn whatever happens into an exit status and at most two lines."""

import difflib
import errno
import re
import sys
import traceback
from collections.abc import Sequence

import typer

from shipway.cli.frame import encode, lazy
from shipway.cli.menu import MENU
from shipway.errors import ShipwayError
from shipway.settings import environment

_USAGE: type[Exception] = typer.BadParameter.__mro__[2]
"""What typer raises for wrong usage. It keeps a click of its own, so the class is found through a public name."""


def app() -> typer.Typer:
    """Make the command line, with every command unloaded."""
    made = typer.Typer(
        cls=lazy(MENU), rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip

    @made.callback()
    def shipway(
        *,
        version: bool = typer.Option(False, "--version", is_eager=True, callback=_release, help="Print the release."),
    ) -> None:
        """Take a trained model to production and keep it honest."""
        del version

    return made


def _release(*, wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        print(f"shipway {metadata.version('shipway')}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status; `shipway` exits with it."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        status = typer.main.get_command(app())(given or ["--help"], prog_name="shipway", standalone_mode=False)
    except SystemExit:
        # Typer ends the process by itself in one case only: whoever read the help has left.
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as exc:  # noqa: BLE001 - no traceback reaches a user
        return _failed(exc, as_json=as_json)
    return status if isinstance(status, int) else 0


def _failed(exc: Exception, *, as_json: bool) -> int:
    sentence, fix, status = explained(exc)
    if environment().get("SHIPWAY_DEBUG") == "1":
        traceback.print_exception(exc)
    if as_json:
        print(encode({"error": sentence, "fix": fix}))
    else:
        print(f"{sentence}\n  fix: {fix}", file=sys.stderr)
    return status


def explained(exc: Exception) -> tuple[str, str, int]:
    """Say what failed, what to do, and the exit status.

    >>> explained(OSError(28, "No space left on device"))
    ('the disk is full: No space left on device', 'free space, then run the command again', 3)
    """
    if isinstance(exc, ShipwayError):
        return str(exc), exc.fix, exc.exit_code
    if isinstance(exc, _USAGE):
        said = exc.format_message().strip().rstrip(".") or "the command is incomplete"  # type: ignore[attr-defined]
        context = getattr(exc, "ctx", None)
        asked = f"see `{context.command_path if context else 'shipway'} --help`"
        unknown = re.fullmatch(r"No such command '(.+)'", said)
        close = difflib.get_close_matches(unknown[1], MENU, n=1) if unknown else []
        return said[0].lower() + said[1:], f"did you mean `shipway {close[0]}`?" if close else asked, 2
    if isinstance(exc, typer.Abort):
        return "stopped by the user", "run the command again", 1
    if isinstance(exc, ModuleNotFoundError):
        return _uninstalled(exc)
    if isinstance(exc, OSError):
        return _from_system(exc)
    return (
        f"the command failed: {type(exc).__name__}: {str(exc) or 'without a message'}",
        "run it again with SHIPWAY_DEBUG=1 and report what it shows",
        3,
    )


def _uninstalled(exc: ModuleNotFoundError) -> tuple[str, str, int]:
    if (exc.name or "").split(".")[0] == "shipway":
        return f"this installation lacks {exc.name}", "install shipway again", 3
    extra = {"sklearn": "sklearn", "skl2onnx": "sklearn", "pandas": "sklearn", "lightgbm": "lightgbm"}.get(
        (exc.name or "").split(".")[0], "platform"
    )
    return f"the package {exc.name} is not installed, and this command needs it", f"pip install 'shipway[{extra}]'", 3


def _from_system(exc: OSError) -> tuple[str, str, int]:
    reason = exc.strerror or str(exc) or type(exc).__name__
    if exc.errno == errno.ENOSPC:
        return f"the disk is full: {reason}", "free space, then run the command again", 3
    if exc.errno == errno.EROFS:
        place = exc.filename or "what should be written"
        return f"{place}: read-only file system", "choose another folder: --home or SHIPWAY_HOME for the home", 2
    if exc.errno in (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.EEXIST):
        return f"{exc.filename or 'a file'}: {reason.lower()}", "check the path and whether it is yours to use", 2
    return f"the system refused: {reason}", "run it again; SHIPWAY_DEBUG=1 shows where it failed", 3
