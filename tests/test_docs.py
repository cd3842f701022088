"""Documentation is run: reference pages come from the code, and command blocks work as written."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page):
    """Blocks of a page that make up its script: (language, file name or "", text)."""
    return [found for found in FENCE.findall(page.read_text()) if found[0] in ("sh", "python", "toml")]


def script(page):
    """One shell script of a page: commands as they stand, other files written where they appear."""
    lines = ["set -euo pipefail"]
    for i, (language, name, text) in enumerate(blocks(page)):
        if language == "sh":
            lines.append(text)
            continue
        file = name or f"block{i}.py"
        lines.append(f"cat > {file} <<'END_OF_BLOCK'\n{text}END_OF_BLOCK")
        if language == "python" and not name:
            lines.append(f"python {file}")
    return "\n".join(lines)


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def test_reference_pages_are_what_the_code_says():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "build.py"), "--check"], capture_output=True, text=True, cwd=ROOT
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_shows_the_figures_of_the_recorded_runs_and_no_others():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "closing.py"), "--check"], capture_output=True, text=True, cwd=ROOT
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_every_command_block_of_the_page_runs(page, tmp_path):
    for tool in ("bash", "curl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    text = script(page)
    ports = dict(zip(("8787", "8786", "8788"), map(str, free_ports(3)), strict=True))
    for usual, ours in ports.items():
        text = text.replace(f":{usual}", f":{ours}")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SHIPWAY_HOME": str(tmp_path / "home"),
        "SHIPWAY_CONTROL_PORT": ports["8787"],
        "SHIPWAY_SERVER_PORT": ports["8786"],
        "SHIPWAY_ADMIN_PORT": ports["8788"],
    }
    work = tmp_path / "work"
    work.mkdir()

    done = subprocess.run(["bash", "-c", text], cwd=work, env=environment, capture_output=True, text=True, timeout=240)
    subprocess.run(["shipway", "down"], cwd=work, env=environment, capture_output=True)

    assert done.returncode == 0, f"{text}\n--- said\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
