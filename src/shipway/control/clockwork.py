"""The control plane's loop of steps: what has to happen again and again, in which order, by one process only.

Every tick runs, under the lease `clockwork`: commit captures and labels, monitor, retrain, rollout,
deliver. Each step is idempotent, opens its own transactions and carries the lease's fence, so a paused
old holder can write nothing, and a kill at any point is made good by the next tick of whoever comes next.
A step that fails is reported by name in `health` and in the log, and does not stop the ones after it.

The publisher is a loop of its own, ten times a second: from a decision to the servers' table takes a
tenth of a second, however long a step may take.
"""

import errno
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

import msgspec

from shipway import endpoint, monitor, retrain
from shipway.database import Database, lease
from shipway.errors import Broken, Conflict, ShipwayError
from shipway.lake import Lake
from shipway.rollout import run
from shipway.terms import RouteTable, Signal
from shipway.wiring.platform import Platform

LEASE = "clockwork"
LEASE_S = 15.0
log = logging.getLogger("shipway.clockwork")


@dataclass
class Clockwork:
    """Runs the steps of one platform; `holder` names this process in the lease."""

    platform: Platform
    holder: str
    fence: int | None = None
    renewed: float = -1e9
    last_commit: float = -1e9
    failures: dict[str, str] = field(default_factory=dict)
    """Step -> its last error, until it succeeds again."""
    stop: threading.Event = field(default_factory=threading.Event)
    listening_since: float = field(init=False)
    """When this process began to hear of servers, Unix seconds."""

    def __post_init__(self) -> None:
        self.listening_since = self.platform.clock()

    def holds_lease(self) -> bool:
        """Take or renew the lease; False while another process has it."""
        if self.fence is not None and monotonic() - self.renewed < LEASE_S / 3:
            return True
        with self.platform.database.transaction() as tx:
            self.fence = lease.acquire(tx, LEASE, self.holder, self.platform.clock(), ttl_s=LEASE_S)
        self.renewed = monotonic()
        return self.fence is not None

    def tick(self) -> None:
        """Run every step once."""
        if not self.holds_lease():
            return
        platform, fence = self.platform, self.fence
        database, lake, now = platform.database, platform.lake, platform.clock()
        if monotonic() - self.last_commit >= platform.settings.commit_every_s:
            self.last_commit = monotonic()
            self._run("commit captures", lambda: _commit(lake, database, now))
            self._run("commit labels", lambda: lake.commit_labels(database, now))
        since = self.listening_since
        self._run(
            "monitor",
            lambda: monitor.step(database, lake, platform.bundles, now, fence=fence, listening_since=since),
        )
        self._run("retrain", lambda: self._retrain(now))
        self._run("rollout", lambda: run.step(database, lake, platform.clock(), fence=fence))
        self._run("deliver", lambda: monitor.deliver(database, platform.clock()))

    def _retrain(self, now: float) -> None:
        platform = self.platform
        with platform.database.read() as tx:
            rows = tx.exec_driver_sql("select body from signal where closed_at is null order by raised_at").all()
        signals = [msgspec.json.decode(body, type=Signal) for (body,) in rows]
        retrain.step(platform.database, platform.lake, platform.bundles, signals, now, fence=self.fence)

    def _run(self, step: str, work: Callable[[], object]) -> None:
        if not self.holds_lease():
            return
        try:
            work()
        except Conflict as lost:
            if "lease" in str(lost):
                self.fence = None
            self._failed(step, lost)
        except Exception as failure:  # noqa: BLE001 - one step must not stop the others; it is logged and shown
            self._failed(step, failure)
        else:
            self.failures.pop(step, None)

    def _failed(self, step: str, failure: Exception) -> None:
        sentence = f"{type(failure).__name__}: {failure}"
        if self.failures.get(step) != sentence:
            expected = isinstance(failure, ShipwayError) or getattr(failure, "errno", None) == errno.ENOSPC
            log.error("step %s failed: %s", step, sentence, exc_info=None if expected else failure)
        self.failures[step] = sentence

    def run(self) -> None:
        """Tick until `stop` is set, then give the lease back."""
        while not self.stop.is_set():
            began = monotonic()
            try:
                self.tick()
            except Exception:
                log.exception("tick failed")
            self.stop.wait(max(0.02, self.platform.settings.tick_s - (monotonic() - began)))
        if self.fence is not None:
            with self.platform.database.transaction() as tx:
                lease.release(tx, LEASE, self.holder, self.fence)


def _commit(lake: Lake, database: Database, now: float) -> None:
    """Commit what collectors put down; segments that vanished before that are said aloud."""
    lost = lake.commit(database, now).lost
    if lost:
        raise Broken(
            f"{len(lost)} captured segments vanished before they were committed, the first is {lost[0]}",
            fix="find out what deletes files below `incoming`; their rows are in no table",
        )


@dataclass
class Publisher:
    """Hands the newest route table to the folder that this machine's servers watch."""

    platform: Platform
    stop: threading.Event = field(default_factory=threading.Event)
    epoch: int = -1

    def publish(self) -> RouteTable | None:
        """Write the table if there is a newer one than was written last; return it then."""
        with self.platform.database.read() as tx:
            newest = tx.exec_driver_sql("select coalesce(max(epoch), -1) from route").scalar_one()
            if newest <= self.epoch:
                return None
            table = endpoint.latest(tx)
        if table is None:
            return None
        endpoint.publish(self.platform.settings.routes, table)
        self.epoch = table.epoch
        return table

    def run(self) -> None:
        """Publish ten times a second until `stop` is set."""
        while not self.stop.wait(0.1):
            try:
                self.publish()
            except Exception:
                log.exception("the route table could not be published")
