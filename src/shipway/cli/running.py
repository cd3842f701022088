"""Commands that start processes: demo, up, serve, collect, control."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from shipway.cli.frame import LOCAL, PLATFORM, Answer, Session, command, encode, group
from shipway.settings import Settings

app = group("Run Shipway.")

Port = Annotated[int | None, typer.Option(min=0, max=65535, show_default=False)]


def _logged() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


@command(app, "demo")
def demo(
    session: Session,
    *,
    data: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file; by default breast-cancer data.", show_default=False)
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict.", show_default=False)] = None,
    time: Annotated[str | None, typer.Option(help="Column to order rows by.", show_default=False)] = None,
    stay: Annotated[bool, typer.Option("--stay", help="Leave everything running until Ctrl-C.")] = False,
) -> Answer:
    """Tell the whole story on real data, on this machine, in about a minute.

    Packs, gates and deploys a model, promotes a better one, rolls back a worse one, survives a crashing one,
    detects drift, retrains, and verifies every decision. Exit status 0 only if all of it held.
    """
    from shipway import demo as story

    return Answer(
        None, code=story.main(data=data, target=target, time=time, stay=stay, as_json=session.json), printed=True
    )


def _running(session: Session, **overrides: object) -> None:
    session.overrides = {name: value for name, value in overrides.items() if value is not None}


@command(app, "up", options=LOCAL)
def up(
    session: Session,
    *,
    control_port: Port = None,
    server_port: Port = None,
    admin_port: Port = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that answer.", show_default=False)] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once everything answers; `shipway down` stops it.")
    ] = False,
) -> Answer:
    """Run control plane, collector and server on this machine until Ctrl-C.

    Keeps everything in one folder (`--home`) with SQLite, and writes URL and token for the other commands.
    """
    from shipway import control

    _running(session, control_port=control_port, server_port=server_port, admin_port=admin_port, workers=workers)
    if detach:
        with session.progress("starting"):
            control.detach(session.settings)
        _announce(session, "`shipway down` stops it")
        return Answer(None, printed=True)
    _logged()
    return Answer(
        None, code=control.up(session.settings, announce=lambda _: _announce(session, "Ctrl-C stops it")), printed=True
    )


@command(app, "down", options=LOCAL)
def down(session: Session) -> Answer:
    """Stop what `shipway up --detach` started; requests in flight are answered first."""
    from shipway import control

    with session.progress("stopping"):
        pid = control.down(session.settings)
    return Answer(
        {"stopped": bool(pid), "pid": pid or None}, "Shipway is down" if pid else "Shipway was not running here"
    )


def _announce(session: Session, how_to_stop: str) -> None:
    from shipway.client import context

    settings = session.settings
    found = context(settings)
    value = {
        "console": found.url,
        "api": f"{found.url}/docs",
        "server": found.server,
        "home": settings.home,
        "context": settings.context_file,
    }
    if session.json:
        print(encode(value), flush=True)
        return
    print(
        f"Shipway is up; {how_to_stop}.\n"
        f"  console  {_sign_in(settings, found.url)}\n"
        f"  API      {found.url}/docs\n"
        f"  server   {found.server}\n"
        f"  files    {settings.home}",
        flush=True,
    )


def _sign_in(settings: Settings, url: str) -> str:
    from shipway.console import session
    from shipway.wiring.platform import clock

    return f"{url}/login?code={session.make_code(session.key(settings.home), clock())}"


@command(app, "serve", options=PLATFORM)
def serve(
    session: Session,
    *,
    name: Annotated[str, typer.Option(help="Name of this server; its spool is kept under it.")] = "local",
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Port = None,
    admin_port: Port = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that answer.", show_default=False)] = None,
) -> Answer:
    """Run a server until SIGTERM: answer predictions by the newest route table it has."""
    from shipway import control

    _running(session, server_host=host, server_port=port, admin_port=admin_port, workers=workers)
    _logged()
    return Answer({"stopped": True}, code=control.serve(session.settings, name=name))


@command(app, "collect", options=PLATFORM)
def collect(session: Session) -> Answer:
    """Run the collector until SIGTERM: sealed captures become files of the lake."""
    from shipway import control

    _logged()
    control.collect(session.settings)
    return Answer({"stopped": True})


@command(app, "control", options=LOCAL)
def control_plane(
    session: Session,
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Port = None,
) -> Answer:
    """Run the control plane until SIGTERM: API, console and clockwork."""
    from shipway import control

    _running(session, control_host=host, control_port=port)
    _logged()
    control.run(session.settings)
    return Answer({"stopped": True})
