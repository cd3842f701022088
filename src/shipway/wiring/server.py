"""Put the data plane together: real clock, real chance, command lines of its four processes.

    python -m shipway.wiring.server supervise --home DIR --name NAME [--port ...]

The supervisor starts the others itself: `worker`, `runner` and `shadow` are not for people.
Not here: the control plane (see `shipway.wiring.platform`).
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from shipway.errors import ShipwayError

COMMAND = (sys.executable, "-m", "shipway.wiring.server")


def clock() -> float:
    """Return the time now in Unix seconds."""
    return time.time()  # noqa: TID251 - wiring owns the clock


def incarnation() -> str:
    """Return a name that no process had before; names sort by time."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(4).hex()}"


class JsonLines(logging.Formatter):
    """One JSON object per line; nothing in a message can start a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        entry = {"at": record.created, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(entry | {"pid": record.process}, default=str).decode()


def log_to_stderr(form: str) -> None:
    """Send the log to standard error, as text or as JSON lines."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if form == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def parser() -> argparse.ArgumentParser:
    """Return the parser of all four command lines."""
    top = argparse.ArgumentParser(prog="python -m shipway.wiring.server", description="The data plane of shipway.")
    commands = top.add_subparsers(dest="command", required=True)
    supervise = commands.add_parser("supervise", help="start a server: supervisor, workers, shadow")
    supervise.add_argument("--host", default="127.0.0.1")
    supervise.add_argument("--port", type=int, default=8786)
    supervise.add_argument("--admin-host", default="127.0.0.1")
    supervise.add_argument("--admin-port", type=int, default=8788)
    supervise.add_argument("--workers", type=int, default=1)
    supervise.add_argument("--listen", default="", help="descriptors of listening sockets that the parent holds")
    supervise.add_argument("--control-url", default="")
    supervise.add_argument("--token", default="")
    supervise.add_argument("--token-file", type=Path, help="read the token from here; it stays out of the process list")
    supervise.add_argument("--counts-every", type=float, default=0.25)
    supervise.add_argument("--challenger-grace", type=float, default=30.0)
    worker = commands.add_parser("worker")
    worker.add_argument("--index", type=int, required=True)
    worker.add_argument("--sockets", required=True)
    shadow = commands.add_parser("shadow")
    runner = commands.add_parser("runner")
    runner.add_argument("--bundle", type=Path, required=True)
    runner.add_argument("--digest", required=True)
    runner.add_argument("--fd", type=int, required=True)
    for command in (worker, shadow):
        command.add_argument("--control", type=int, required=True)
        command.add_argument("--flight", type=int, required=True)
        command.add_argument("--incarnation", required=True)
    for command in (supervise, worker, shadow):
        command.add_argument("--home", type=Path, required=True)
        command.add_argument("--name", default="local")
        command.add_argument("--segment-bytes", type=int, default=8 << 20)
        command.add_argument("--seal-after", type=float, default=5.0)
        command.add_argument("--durability", choices=("none", "interval", "request"), default="interval")
        command.add_argument("--drain-idle", type=float, default=1.0)
        command.add_argument("--log", choices=("text", "json"), default="text")
    return top


def _inherited(args: argparse.Namespace, command: str) -> tuple[str, ...]:
    return (
        *COMMAND, command, "--home", str(args.home), "--name", args.name, "--segment-bytes", str(args.segment_bytes),
        "--seal-after", str(args.seal_after), "--durability", args.durability, "--drain-idle", str(args.drain_idle),
        "--log", args.log,
    )  # fmt: skip


def supervise(args: argparse.Namespace) -> int:
    """Run a server until it is told to stop."""
    from shipway.serve.supervisor import ServerOptions, Supervisor
    from shipway.serve.transport.loop import run

    options = ServerOptions(
        home=args.home.absolute(),
        name=args.name,
        host=args.host,
        port=args.port,
        admin_host=args.admin_host,
        admin_port=args.admin_port,
        workers=max(1, args.workers),
        listen=tuple(int(descriptor) for descriptor in args.listen.split(",") if descriptor),
        control_url=args.control_url,
        token=args.token_file.read_text().strip() if args.token_file else args.token,
        counts_every_s=args.counts_every,
        challenger_grace_s=args.challenger_grace,
        worker_command=_inherited(args, "worker"),
        shadow_command=_inherited(args, "shadow"),
    )

    async def main() -> int:
        return await Supervisor(options, clock=clock, name=incarnation).run()

    return run(main())


def worker(args: argparse.Namespace) -> int:
    """Answer requests until told to stop."""
    from shipway.serve.transport.loop import run
    from shipway.serve.worker import Worker, WorkerOptions

    options = WorkerOptions(
        home=args.home,
        server=args.home / "servers" / args.name,
        incarnation=args.incarnation,
        index=args.index,
        sockets=tuple(int(fd) for fd in args.sockets.split(",")),
        control=args.control,
        flight=args.flight,
        runner_command=COMMAND,
        version=_version(),
        segment_bytes=args.segment_bytes,
        seal_after_s=args.seal_after,
        durability=args.durability,
        drain_idle_s=args.drain_idle,
    )

    async def main() -> int:
        return await Worker(options, clock=clock, now_ns=time.time_ns, random_bytes=os.urandom).run()

    return run(main())


def shadow(args: argparse.Namespace) -> int:
    """Shadow until told to stop, or until nothing is left to shadow."""
    from shipway.serve.shadow import Shadow, ShadowOptions
    from shipway.serve.transport.loop import run

    options = ShadowOptions(
        home=args.home,
        server=args.home / "servers" / args.name,
        incarnation=args.incarnation,
        control=args.control,
        runner_command=COMMAND,
        segment_bytes=args.segment_bytes,
        seal_after_s=args.seal_after,
    )

    async def main() -> int:
        return await Shadow(options, clock=clock, now_ns=time.time_ns, random_bytes=os.urandom).run()

    return run(main())


def runner(args: argparse.Namespace) -> int:
    """Run one model for one worker."""
    from shipway.serve.engine.runner_process import serve

    return serve(args.fd, args.bundle, args.digest)


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("shipway")
    except metadata.PackageNotFoundError:
        return "0"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one process of the data plane and return its exit status."""
    args = parser().parse_args(arguments)
    log_to_stderr(getattr(args, "log", "text"))
    commands = {"supervise": supervise, "worker": worker, "shadow": shadow, "runner": runner}
    try:
        return commands[args.command](args)
    except ShipwayError as exc:
        print(f"{exc}\n  fix: {exc.fix}", file=sys.stderr)  # noqa: T201 - a process's last words
        return exc.exit_code


if __name__ == "__main__":
    sys.exit(main())
