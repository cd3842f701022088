"""What it costs to start: imports, help, and the packages that each lock file installs.

    python bench/imports.py [--json]

Every figure is the least of five new interpreters, which is what users wait for; CPU has the interpreter's own
start taken off.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import orjson

ROOT = Path(__file__).parents[1]
ROUNDS = 5
LOCKS = {"serve": "requirements-serve.lock", "platform": "requirements.lock", "test": "requirements-test.lock"}


def _run(*arguments: str) -> tuple[float, float]:
    """Return the least wall and CPU seconds of an interpreter with these arguments."""
    wall, cpu = [], []
    for _ in range(ROUNDS):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        wall.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(wall), min(cpu)


def main(*, json: bool) -> dict[str, object]:
    """Measure and print."""
    python_s, python_cpu_s = _run("-c", "pass")
    import_s, import_cpu_s = _run("-c", "import shipway")
    help_s, help_cpu_s = _run("-m", "shipway", "--help")
    monitor_s, monitor_cpu_s = _run("-c", "import shipway.monitor")
    found: dict[str, object] = {
        "import_shipway_s": round(import_s, 3),
        "import_shipway_cpu_s": round(import_cpu_s - python_cpu_s, 3),
        "help_s": round(help_s, 3),
        "help_cpu_s": round(help_cpu_s - python_cpu_s, 3),
        "import_monitor_s": round(monitor_s, 3),
        "import_monitor_cpu_s": round(monitor_cpu_s - python_cpu_s, 3),
        "python_s": round(python_s, 3),
        "packages": {
            name: sum("==" in line for line in (ROOT / lock).read_text().splitlines()) for name, lock in LOCKS.items()
        },
    }
    print(orjson.dumps(found).decode() if json else _text(found))
    return found


def _text(found: dict[str, object]) -> str:
    packages = ", ".join(f"{name} {n}" for name, n in found["packages"].items())  # type: ignore[attr-defined]
    return (
        f"import shipway: {found['import_shipway_s']} s ({found['import_shipway_cpu_s']} s CPU of ours)\n"
        f"shipway --help: {found['help_s']} s; import shipway.monitor: {found['import_monitor_cpu_s']} s CPU\n"
        f"  python itself: {found['python_s']} s; packages: {packages}"
    )


if __name__ == "__main__":
    main(json="--json" in sys.argv[1:])
