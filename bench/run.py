"""Run benchmarks: `./do bench [serve|score|import|all] [--json]`. Without a name, all of them.

Each is a file of its own with a `main(json=...)` that prints a few lines, or one JSON object per benchmark.
"""

import argparse
import importlib

FILES = {"import": "imports", "score": "score", "serve": "serve"}


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="./do bench", description="Measure what shipway costs.")
    parser.add_argument("what", nargs="?", default="all", choices=[*FILES, "all"])
    parser.add_argument("--json", action="store_true", help="print one JSON object per benchmark")
    chosen = parser.parse_args()
    for name in FILES if chosen.what == "all" else [chosen.what]:
        importlib.import_module(FILES[name]).main(json=chosen.json)


if __name__ == "__main__":
    main()
