"""What every command shares: options, output, errors, and loading a command only when it is asked for.

A command is a function that takes a `Session` and its own arguments and returns an `Answer`: a value for
`--json`, text for people, an exit status. `command` adds `--json` to all of them, and `--url`, `--token`
and `--home` where they belong, so that no command can lack them or read them differently.
"""

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TextIO

import msgspec
import typer

from shipway.client import Client, connect
from shipway.client.context import installed
from shipway.settings import Settings

Reporter = Callable[[str, float], None]
"""Takes what is being done and how much of it is done, from 0 to 1."""


@dataclass(frozen=True)
class Answer:
    """What a command found.

    Attributes:
        value: for `--json`; the one object on standard output.
        text: for people; "" prints nothing.
        code: 0 done or pass, 1 no, 3 broken machinery, 4 undecided or awaiting approval.
    """

    value: object
    text: str = ""
    code: int = 0
    printed: bool = False
    """True where the command printed for itself."""


@dataclass
class Session:
    """One run of a command: who it talks to and how it prints."""

    json: bool = False
    url: str = ""
    token: str = ""
    home: Path | None = None
    overrides: dict[str, object] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        """Settings from the environment, the settings file and the command line."""
        return installed(home=self.home, url=self.url or None, token=self.token or None, **self.overrides)

    @cached_property
    def client(self) -> Client:
        """The control plane, as the principal of the context or of `--token`."""
        return connect(self.settings)

    def close(self) -> None:
        """Close the connections that were opened."""
        if "client" in self.__dict__:  # cached_property keeps it there once it was asked for
            self.client.close()

    def say(self, text: str) -> None:
        """Print a line as it happens; `--json` keeps standard output for its one object."""
        write(text, sys.stderr if self.json else sys.stdout)

    @contextmanager
    def progress(self, what: str) -> Iterator[Reporter]:
        """Show a progress bar on a terminal, and nothing elsewhere."""
        if not sys.stderr.isatty():
            yield lambda _said, _share: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(what, total=1.0)
            yield lambda said, share: bars.update(task, description=said, completed=share)

    def show(self, answer: Answer) -> None:
        """Print an answer in the form that was asked for."""
        if answer.printed:
            return
        if self.json:
            write(encode(answer.value), sys.stdout)
        elif answer.text:
            write(answer.text, sys.stdout)


def write(text: str, stream: TextIO) -> None:
    """Print a line; a reader that has left (`| head`) has seen enough, and that is no failure."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def encode(value: object) -> str:
    """Write a value as one line of JSON."""
    return msgspec.json.encode(value, enc_hook=_plain).decode()


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy to ask
        return value.tolist()
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


_OPTIONS: dict[str, tuple[type, Any]] = {
    "json": (bool, typer.Option("--json", help="Print exactly one JSON object.")),
    "url": (
        str,
        typer.Option("--url", help="Control plane to talk to instead of the one in the context.", show_default=False),
    ),
    "token": (str, typer.Option("--token", help="API token instead of the one in the context.", show_default=False)),
    "home": (Path, typer.Option("--home", help="Folder of this installation.", show_default=False)),
}
PLATFORM = ("url", "token", "home")
"""Options of commands that talk to the control plane."""
LOCAL = ("home",)
"""Options of commands that work in the user's data folder."""


def command(
    app: typer.Typer, name: str, *, options: Sequence[str] = ()
) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Make a function a command of `app`, with `--json` and the named shared options.

    The function keeps its own form, so a test or another command calls it as it is.
    """

    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        def run(**arguments: Any) -> int:  # noqa: ANN401 - what typer parsed
            shared = {key: arguments.pop(key) for key in ("json", *options)}
            session = Session(**{key: value for key, value in shared.items() if value is not None})
            try:
                answer = function(session, **arguments)
            finally:
                session.close()
            session.show(answer)
            return answer.code

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        added = [_option(key) for key in ("json", *options)]
        # Parameters keep their kinds, and shared options come last in --help.
        run.__signature__ = inspect.Signature([p.replace(kind=p.KEYWORD_ONLY) for p in own] + added)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*own, *added]}
        run.__doc__ = function.__doc__
        app.command(name)(run)
        return function

    return register


def _option(key: str) -> inspect.Parameter:
    kind, option = _OPTIONS[key]
    default: object = False if kind is bool else None
    annotation = kind if kind is bool else kind | None
    return inspect.Parameter(
        key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, option]
    )


class Group(typer.core.TyperGroup):
    """Lists its commands with their whole line of help, where typer would cut it short."""

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ANN401 - typer vendors click's classes
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(200)) for name in self.list_commands(ctx)]
            )


def group(summary: str) -> typer.Typer:
    """Make an app that commands register with."""
    return typer.Typer(
        cls=Group, help=summary, rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False
    )


@dataclass(frozen=True)
class Item:
    """One name behind `shipway`: its line of help and how to load it."""

    summary: str
    load: Callable[[], typer.Typer]
    is_group: bool = False


def lazy(menu: Mapping[str, Item]) -> type[typer.core.TyperGroup]:
    """Make the group that lists `menu` without loading it and loads only the command that is called."""

    class Lazy(Group):
        def list_commands(self, _ctx: typer.Context) -> list[str]:  # type: ignore[override]
            return list(menu)

        def get_command(self, _ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]  # noqa: ANN401 - typer vendors click's classes
            return load(menu, cmd_name)

        def format_commands(self, _ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ANN401
            with formatter.section("Commands"):
                formatter.write_dl([(name, item.summary) for name, item in menu.items()])

    return Lazy


def load(menu: Mapping[str, Item], name: str) -> Any:  # noqa: ANN401 - typer vendors click's classes
    """Load one command of the menu, or None where there is no such name."""
    item = menu.get(name)
    if item is None:
        return None
    built = typer.main.get_group(item.load())
    if not item.is_group:
        return built.commands[name]
    built.name = name
    return built


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Align rows in columns of plain text.

    >>> print(table(["model", "version"], [["churn", 3]]))
    model  version
    churn  3
    """
    cells = [[str(cell) if cell is not None else "-" for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
