"""Run one training: `python -m shipway.retrain.child FOLDER`, a process of its own that outlives its parent.

It inherits a lock on the folder, which ends with it, so that anyone can see whether it lives, runs the owner's
command, takes in the bundle that the command left, lets the gate judge it, and writes `result.json` at the
very end. The control plane may be killed and started again meanwhile: it reads the lock and the result.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

JOB = "job.json"
RESULT = "result.json"
LOCK = "lock"
LOG = "log.txt"


def main(folder: Path) -> None:
    """Run the job in `folder`."""
    result = _train(folder, json.loads((folder / JOB).read_text()))
    beside = folder / f".{RESULT}"
    beside.write_text(json.dumps(result))
    beside.rename(folder / RESULT)


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """Start the job in `folder` in a session of its own, so that nothing that ends us ends it."""
    with (folder / LOCK).open("w") as lock, (folder / LOG).open("ab") as log:
        # The lock belongs to the open file, which the child inherits: it is held before the child runs a line.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "shipway.retrain.child", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )


def is_alive(folder: Path) -> bool:
    """Whether a process holds the lock of this folder."""
    try:
        with (folder / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _train(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    with (folder / LOG).open("ab") as log:
        try:
            process = subprocess.Popen(  # noqa: S603 - the endpoint's owner wrote this command
                job["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=os.environ | job["environment"],  # noqa: TID251 - the command inherits what the platform was given
                start_new_session=True,
            )
        except OSError as exc:
            return {"ok": False, "sentence": f"the command could not be started: {exc}"}
        code = _wait(process, job["timeout_s"])
    if code != 0:
        # A kill from outside (somebody's, or the kernel's for want of memory) says nothing about the training itself.
        lost = code is not None and code == -signal.SIGKILL
        return {"ok": False, "lost": lost, "sentence": f"the command {_ended(code, job['timeout_s'])}"}
    return _accepted(out, job)


def _wait(process: "subprocess.Popen[bytes]", timeout_s: float) -> int | None:
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def _ended(code: int | None, timeout_s: float) -> str:
    if code is None:
        return f"was ended after {timeout_s:,.0f} s, its `timeout`"
    return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"


def _accepted(out: Path, job: dict[str, Any]) -> dict[str, Any]:
    from shipway.errors import ShipwayError  # noqa: PLC0415 - nothing heavy while the command runs
    from shipway.retrain.acceptance import accept  # noqa: PLC0415 - the same

    try:
        return accept(out, job)
    except ShipwayError as exc:
        return {"ok": False, "sentence": f"{exc} ({exc.fix})"}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
