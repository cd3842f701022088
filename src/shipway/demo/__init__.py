"""`shipway demo`: the whole story on real data, on this machine, in about a minute.

The story starts a platform of its own in a temporary folder, on free ports, and tears it down at the end
(or leaves it running with `--stay`). What it injects is called injected; everything else is what the
platform decided by itself.
"""

import json
import logging
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from shipway import settings as settings_file
from shipway.settings import Settings
from shipway.wiring.platform import clock

STEPS = (
    "pack", "gate", "deploy", "promote_better", "rollback_worse", "survive_crashing",
    "detect_drift", "retrain", "verify_ledger",
)  # fmt: skip


def free_ports(n: int) -> list[int]:
    """Find ports that nothing uses now."""
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def demo_settings(home: Path) -> Settings:
    """Settings of the demo's own platform: defaults, but everything that waits for minutes waits for moments."""
    control, server, admin = free_ports(3)
    return settings_file.load(
        {},
        None,
        home=home,
        control_port=control,
        server_port=server,
        admin_port=admin,
        workers=1,
        seal_after_s=0.4,
        collect_every_s=0.25,
        commit_every_s=0.6,
        tick_s=0.3,
        profile_bucket_s=1,
    )


def main(
    *,
    data: Path | None = None,
    target: str | None = None,
    time: str | None = None,
    stay: bool = False,
    as_json: bool = False,
) -> int:
    """Tell the story; returns the exit status: 0 only if every step held and no request failed.

    Args:
        data: a CSV or Parquet file; by default the breast-cancer data that scikit-learn ships.
        target: the column to predict.
        time: a column to order the rows by.
        stay: leave the platform running until interrupted.
        as_json: print exactly one JSON object on standard output and tell the story on standard error.

    Raises:
        Rejected: the file cannot be told a story with.
    """
    from shipway.demo.data import load

    began = monotonic()
    say = _teller(sys.stderr if as_json else sys.stdout)
    cut = load(data, target=target, time=time)
    say(f"shipway demo on {cut.name}: {cut.task.value}, {len(cut.features)} columns, {len(cut.train):,} rows to train, "
        f"{len(cut.holdout):,} held out, {len(cut.stream):,} to stream")  # fmt: skip
    for column, why in cut.left_out.items():
        say(f"  left out {column!r}: {why}")
    home = Path(tempfile.mkdtemp(prefix="shipway-demo-"))
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(name)s: %(message)s")
    status = 1
    try:
        status = _tell(cut, home, say, began=began, stay=stay, as_json=as_json)
    finally:
        if status == 0:
            shutil.rmtree(home, ignore_errors=True)
        else:
            say(f"what happened is kept for a look: {home}/logs")
    return status


def _teller(stream: Any) -> Callable[[str], None]:  # noqa: ANN401 - a text stream
    def say(line: str) -> None:
        print(line, file=stream, flush=True)

    return say


def _tell(cut: Any, home: Path, say: Callable[[str], None], *, began: float, stay: bool, as_json: bool) -> int:  # noqa: ANN401 - one call
    from shipway.client import Client
    from shipway.control import Processes
    from shipway.control.setup import control_url
    from shipway.demo.patience import PatientClient
    from shipway.demo.receiver import Receiver
    from shipway.demo.story import ENDPOINT, RATE, Story, tell
    from shipway.demo.traffic import Rows, Traffic

    settings = demo_settings(home)
    with Processes(settings, tell=lambda sentence: say(f"  ! {sentence}")) as processes, Receiver() as receiver:
        processes.start()
        context = json.loads(settings.context_file.read_text())
        client = Client(
            context["url"], context["token"], server=f"http://{settings.server_host}:{settings.server_port}"
        )
        say(f"platform ready after {monotonic() - began:.1f} s: console and API at {context['url']}")
        traffic = Traffic(
            settings.server_host,
            settings.server_port,
            ENDPOINT,
            Rows((), ()),
            rate=RATE,
            send_labels=lambda labels: client.label(ENDPOINT, labels),
        )
        folder = home / "packed"
        folder.mkdir()
        story = Story(cut, PatientClient(client), folder, traffic, receiver, say, clock)
        tell(story, receiver.url)
        result = closing(story, began)
        _print_closing(story, result, control_url(settings), say)
        if as_json:
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()
        if stay:
            _stay(settings, say)
    return (
        0
        if result["failed"] == 0 and len(result["steps"]) == len(STEPS) and all(step["ok"] for step in result["steps"])
        else 1
    )


def closing(story: Any, began: float) -> dict[str, Any]:  # noqa: ANN401 - a Story
    """What the story comes to, as `--json` prints it."""
    told = {step.name: {"name": step.name, "ok": step.ok, "detail": step.detail} for step in story.steps}
    return {
        "seconds": round(monotonic() - began, 1),
        "requests": story.traffic.tally.requests,
        "failed": story.traffic.tally.failed,
        "steps": [told.get(name, {"name": name, "ok": False, "detail": "not reached"}) for name in STEPS],
        "drift": {"columns": story.drift_columns},
        "callers_answered_by_worse": story.answered("worse") if "worse" in story.versions else 0,
        "ledger": {"entries": story.ledger.get("entries", 0), "verified": bool(story.ledger.get("ok", False))},
    }


def _print_closing(story: Any, result: dict[str, Any], url: str, say: Callable[[str], None]) -> None:  # noqa: ANN401 - a Story
    tally = story.traffic.tally
    named = {f"demo:{number}": which for which, number in story.versions.items()}
    answers = ", ".join(f"{named.get(version, version)} {n:,}" for version, n in sorted(tally.versions.items()))
    say("\n" + "-" * 78)
    for step in result["steps"]:
        say(f"{'ok ' if step['ok'] else 'NO '} {step['name']:<17} {step['detail']}")
    say("-" * 78)
    say(f"requests sent   {tally.requests:,}; failed {tally.failed}; labels {tally.labels:,}")
    say(f"answered by     {answers}")
    say(f"worse version   answered {result['callers_answered_by_worse']} callers")
    say(
        f"ledger          {result['ledger']['entries']} entries, "
        f"{'verified' if result['ledger']['verified'] else 'NOT VERIFIED'}"
    )
    say(f"seconds         {result['seconds']}")
    say(f"card            {url}/models/demo/{story.versions.get('retrained', 1)}   console {url}/   API {url}/docs")
    for sentence, n in tally.trouble.most_common(5):
        say(f"failure         {n:,} requests: {sentence}")
    if tally.trouble:
        say("  fix: none of them was answered, so nothing is lost; callers ask again, or run a second server beside it")


def _stay(settings: Settings, say: Callable[[str], None]) -> None:
    import signal

    from shipway.console import session

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    url = f"http://{settings.control_host}:{settings.control_port}"
    link = f"{url}/login?code={session.make_code(session.key(settings.home), clock())}"
    say(f"staying: {link} signs you in once, within 15 minutes")
    say(f"later sign in at {url}/login with the token in {settings.context_file}; Ctrl-C ends it")
    stop.wait()
