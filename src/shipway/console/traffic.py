"""What an endpoint answered, minute by minute: how much, how fast, how often it failed.

Servers push counts within a second and the control plane keeps them by minute; everything about traffic
on the pages comes from those rows, so it is complete even where captures are sampled or late.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, func, select

from shipway.database import schema
from shipway.terms import FAILURES

DAY_S = 86_400
BINS = 96
"""At most this many points in a chart."""


@dataclass(frozen=True)
class Traffic:
    """Counts of one endpoint over a stretch of time, in bins of equal length."""

    begins: float
    """Unix seconds; start of the first bin."""
    ends: float
    bin_s: float
    requests: tuple[int, ...]
    """Per bin, all versions."""
    versions: dict[int, tuple[int, ...]]
    """Version -> per bin."""
    failures: dict[int, int]
    """Version -> requests in which it failed."""
    quantiles: tuple[tuple[float | None, float | None, float | None], ...]
    """p50, p95, p99 of each bin, in microseconds."""
    overall: tuple[float | None, float | None, float | None]
    recent: dict[int, int]
    """Version -> requests in the last five minutes."""
    recent_s: float
    """How many seconds `recent` spans."""
    opened: float = 0.0
    """Unix seconds since when the endpoint can be asked; the first bin is no longer than that."""
    lately: tuple[int, float] = (0, 0.0)
    """Requests in this minute and the one before, and how many seconds they span."""
    last_at: float = 0.0
    """End of the last minute that had a request, at most now."""

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.requests)

    @property
    def failed(self) -> int:
        """Requests in which the version that was asked failed."""
        return sum(self.failures.values())

    @property
    def per_second(self) -> float:
        """Requests a second in this minute and the one before."""
        n, spanned = self.lately
        return n / spanned if spanned > 0 else 0.0

    @property
    def span_s(self) -> float:
        """How many seconds all of this covers."""
        return self.ends - max(self.begins, self.opened)

    @property
    def quiet_s(self) -> float:
        """For how many seconds nobody has asked; 0 while somebody does."""
        return 0.0 if self.lately[0] else max(self.ends - self.last_at, 0.0)

    def spans(self) -> list[tuple[float, float]]:
        """Begin and end of each bin; the first begins no earlier than the endpoint, the last ends now."""
        begins = [self.begins + i * self.bin_s for i in range(len(self.requests))]
        return [(min(max(at, self.opened), self.ends), min(at + self.bin_s, self.ends)) for at in begins]

    def rates(self, version: int | None = None) -> list[tuple[float, float | None]]:
        """Requests a second at the middle of each bin, of one version or of all."""
        counts = self.requests if version is None else self.versions.get(version, (0,) * len(self.requests))
        return [
            ((begin + end) / 2, n / (end - begin) if end > begin else None)
            for (begin, end), n in zip(self.spans(), counts, strict=True)
        ]


def quantile(bins: Sequence[int], q: float) -> float | None:
    """Read a quantile off latency counts, 4 bins an octave from 1 us; None where nothing was counted.

    Within a bin it is interpolated on the log scale, so it is right to within a tenth.

    >>> round(quantile([0, 0, 0, 0, 10], 0.5), 2)
    2.18
    """
    total = sum(bins)
    if total == 0:
        return None
    wanted, seen = q * total, 0
    for i, n in enumerate(bins):
        if n and seen + n >= wanted:
            return float(2 ** ((i + (wanted - seen) / n) / 4))
        seen += n
    return float(2 ** (len(bins) / 4))


def _three(bins: Sequence[int]) -> tuple[float | None, float | None, float | None]:
    return quantile(bins, 0.5), quantile(bins, 0.95), quantile(bins, 0.99)


def _add(total: list[int], more: Sequence[int]) -> None:
    total.extend([0] * (len(more) - len(total)))
    for i, n in enumerate(more):
        total[i] += n


def traffic(
    tx: Connection, project: str, endpoint: str, now: float, *, span_s: float = DAY_S, opened: float = 0.0
) -> Traffic | None:
    """Read the traffic of the last `span_s` seconds; None if there never was any.

    The stretch begins with the first minute that has a request, so that a new endpoint fills its charts;
    `opened`, when the endpoint was made, says how much of that minute counts.
    """
    table = schema.endpoint_count
    mine = (table.c.project == project) & (table.c.endpoint == endpoint)
    last_ever = tx.execute(select(func.max(table.c.minute)).where(mine)).scalar_one()
    if last_ever is None:
        return None
    earliest = int((now - span_s) // 60)
    rows = tx.execute(
        select(table.c.minute, table.c.version, table.c.outcome, table.c.n, table.c.latency_us)
        .where(mine & (table.c.minute >= earliest))
        .order_by(table.c.minute)
    ).all()
    first = rows[0].minute * 60.0 if rows else now - span_s
    begins = min(max(first, now - span_s), now - 60)
    minutes = max(1, -(-int(now - begins) // (60 * BINS)))
    bin_s = 60.0 * minutes
    count = max(1, math.ceil((now - begins) / bin_s))
    requests = [0] * count
    versions: dict[int, list[int]] = defaultdict(lambda: [0] * count)
    failures: dict[int, int] = defaultdict(int)
    latency: list[list[int]] = [[] for _ in range(count)]
    overall: list[int] = []
    recent: dict[int, int] = defaultdict(int)
    lately_from, lately = (now // 60 - 1) * 60, 0
    recent_from = max(begins, (now // 60 - 4) * 60)
    for row in rows:
        at = min(max(int((row.minute * 60 - begins) // bin_s), 0), count - 1)
        requests[at] += row.n
        versions[row.version][at] += row.n
        if row.outcome in FAILURES:
            failures[row.version] += row.n
        if row.latency_us != "[]":
            bins = msgspec.json.decode(row.latency_us, type=list[int])
            _add(latency[at], bins)
            _add(overall, bins)
        if row.minute * 60 >= recent_from:
            recent[row.version] += row.n
        if row.minute * 60 >= lately_from:
            lately += row.n
    return Traffic(
        begins=begins,
        ends=now,
        bin_s=bin_s,
        requests=tuple(requests),
        versions={version: tuple(counts) for version, counts in sorted(versions.items())},
        failures=dict(failures),
        quantiles=tuple(_three(bins) for bins in latency),
        overall=_three(overall),
        recent=dict(recent),
        recent_s=now - recent_from,
        opened=opened,
        lately=(lately, now - max(lately_from, begins, opened)),
        last_at=min(now, (last_ever + 1) * 60.0),
    )
