"""What is in the processes of the data plane, and what is not."""

import os
import socket
import subprocess
import sys

import pytest
from serve_scenes import call, champion, route

from shipway.serve.flight import Flight, shared

FORBIDDEN = {
    "pandas", "pyarrow", "sqlalchemy", "fastapi", "starlette", "pydantic", "jinja2", "sklearn", "scipy", "pyiceberg",
    "duckdb", "lightgbm", "onnx", "typer", "rich", "requests", "httpx", "alembic",
}  # fmt: skip

HARNESS = """
import atexit, sys
from shipway.wiring.server import main
atexit.register(lambda: print("\\n".join(sorted(sys.modules))))
sys.exit(main(sys.argv[1:]))
"""


def modules(text):
    return {line.split(".")[0] for line in text.splitlines()}


@pytest.fixture
def descriptors():
    """Two ends of a control line, shared memory, a listening socket: what a supervisor gives a worker."""
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    note = shared()
    listening = socket.create_server(("127.0.0.1", 0))
    yield ours, theirs, note, listening
    for sock in (ours, theirs, listening):
        sock.close()
    os.close(note)


def test_worker_that_answered_has_imported_nothing_of_the_platform(home, descriptors):
    ours, theirs, note, listening = descriptors
    home.publish(route(champion(home.bundle())))
    worker = subprocess.Popen(
        [
            sys.executable, "-c", HARNESS, "worker", "--home", str(home.folder), "--name", "s", "--index", "0",
            "--sockets", str(listening.fileno()), "--control", str(theirs.fileno()), "--flight", str(note),
            "--incarnation", "one", "--drain-idle", "0.1",
        ],
        pass_fds=(listening.fileno(), theirs.fileno(), note),
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    theirs.close()
    try:
        assert b'"ready"' in ours.recv(4096)
        status, _, _ = call(listening.getsockname()[1], "POST", "/v2/models/toy/infer", '{"rows":[{"x":1,"y":2}]}')
        ours.close()
        told, _ = worker.communicate(timeout=20)
    finally:
        worker.kill()

    assert status == 200
    assert worker.returncode == 0
    found = modules(told)
    assert {"shipway", "onnxruntime", "uvloop", "httptools"} <= found
    assert not found & FORBIDDEN


@pytest.mark.parametrize("module", ["supervisor", "shadow", "engine.runner_process"])
def test_other_processes_import_nothing_of_the_platform_either(module):
    code = f"import sys, shipway.serve.{module}, shipway.wiring.server; print('\\n'.join(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert not modules(ended.stdout) & FORBIDDEN


def test_note_of_a_worker_is_read_by_its_parent():
    fd = shared()
    writer, reader = Flight(fd), Flight(fd)
    os.close(fd)

    writer.mark("sha256:" + "a" * 64)
    marked = reader.running()
    writer.clear()

    assert marked == "sha256:" + "a" * 64
    assert reader.running() == ""
    writer.close()
    reader.close()
