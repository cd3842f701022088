"""Kill a collector or a committer with -9 at every step it takes, one step later each time, and count rows.

Run by `test_kills.py` in a process of its own, because only a process without threads may fork. Prints one
line of JSON: at how many steps it was killed, and what was there at the end.
"""

import json
import os
import signal
import sys
import traceback
from functools import partial
from pathlib import Path

from conftest import House
from shipway.lake import Label, collector, commit, inbox, tables

WATCHED = {module.__file__ for module in (collector, commit, inbox, tables)}
STEPS = {"rename", "unlink", "fsync", "commit_table", "commit", "executemany"}


def in_child(work):
    """Run `work` in a fork; return whether it lived to the end."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
            raise
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit("a child failed")
    return os.WIFEXITED(status)


def die_at(step):
    """Kill this process at the beginning or end of the `step`-th thing that it does."""
    left = step

    def watch(frame, kind, function):
        nonlocal left
        where = frame.f_code.co_filename
        ours = kind in ("call", "return") and (where in WATCHED or frame.f_code.co_name in STEPS)
        if ours or (kind in ("c_call", "c_return") and function.__name__ in STEPS):
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)


def collecting(house, step):
    house.write(rows=2, count=3)
    die_at(step)
    house.collect()


def committing(house, step):
    house.write(rows=2, count=3)
    house.collect()
    die_at(step)
    house.lake.commit(house.database, house.now)


def labelling(house, step):
    [event] = house.write(rows=2)
    house.label(Label("yes", event=event, row=0), Label("no", event=event, row=1))
    die_at(step)
    house.lake.commit_labels(house.database, house.now)


def live(root, work, step):
    work(House(root, f"life{step}-"), step)


def main(root, work, stride):
    step, rounds = 1, 0
    while not in_child(partial(live, root, work, step)):
        in_child(lambda: House(root).carry())
        step += stride
        rounds += 1
    in_child(lambda: House(root).carry())
    house = House(root)
    rows = house.lake.events("default", "income")
    with house.database.read() as tx:
        profiled = tx.exec_driver_sql("select sum(rows) from profile").scalar()
        waiting = tx.exec_driver_sql("select count(*) from inbox where committed_at is null").scalar()
    labels = tables.find(house.lake._catalog, tables.LABELS, "default", "income")
    sys.stdout.write(
        json.dumps(
            {
                "kills": rounds,
                "rows": rows.num_rows,
                "distinct": len(set(zip(rows["event_id"].to_pylist(), rows["row"].to_pylist(), strict=True))),
                "profiled": profiled,
                "waiting": waiting,
                "spool": len(list(house.spool.iterdir())),
                "incoming": len(list((root / "incoming").rglob("[!.]*.parquet"))),
                "labels": labels.scan().to_arrow().num_rows if labels else 0,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), {w.__name__: w for w in (collecting, committing, labelling)}[sys.argv[2]], int(sys.argv[3]))
