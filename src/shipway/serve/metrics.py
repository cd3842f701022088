"""Counts as Prometheus text, made from the same mapped blocks that the controller reads.

Source: Prometheus text exposition format 0.0.4.
"""

from collections.abc import Iterable, Mapping

from shipway.capture.counts import EDGES_US
from shipway.terms import Cell

OCTAVE = 4
"""Bins of one octave; a histogram shows whole octaves."""

Key = tuple[str, str, str, int, int, str, int, str]


def fold(base: dict[Key, Cell], cells: Iterable[Cell]) -> None:
    """Add cells to those of the same key."""
    for cell in cells:
        key = (
            cell.project,
            cell.endpoint,
            cell.rollout,
            cell.restart,
            cell.propensity,
            cell.arm,
            cell.version,
            cell.outcome,
        )
        old = base.get(key)
        base[key] = cell if old is None else _sum(old, cell)


def _sum(a: Cell, b: Cell) -> Cell:
    size = max(len(a.latency_us), len(b.latency_us))
    bins = [
        (a.latency_us[i] if i < len(a.latency_us) else 0) + (b.latency_us[i] if i < len(b.latency_us) else 0)
        for i in range(size)
    ]
    return Cell(
        a.project, a.endpoint, a.rollout, a.restart, a.propensity, a.arm, a.version, a.outcome, a.n + b.n, tuple(bins)
    )


def text(cells: Iterable[Cell], gauges: Mapping[str, float]) -> bytes:
    """Write everything as one page.

    Args:
        cells: each key once.
        gauges: name -> value.
    """
    lines = [
        "# HELP shipway_requests_total Predictions by the arm they were assigned to and what came of it.",
        "# TYPE shipway_requests_total counter",
    ]
    cells = sorted(cells, key=lambda c: (c.project, c.endpoint, c.rollout, c.restart, c.propensity, c.arm, c.outcome))
    for cell in cells:
        more = f',rollout="{_safe(cell.rollout)}",restart="{cell.restart}",propensity="{cell.propensity}"'
        lines.append(f'shipway_requests_total{{{_labels(cell)},outcome="{_safe(cell.outcome)}"{more}}} {cell.n}')
    lines += _latencies(cells)
    for name, value in gauges.items():
        lines += [f"# TYPE {name} gauge", f"{name} {value:.10g}"]
    return ("\n".join(lines) + "\n").encode()


def _labels(cell: Cell) -> str:
    return (
        f'project="{_safe(cell.project)}",endpoint="{_safe(cell.endpoint)}",arm="{cell.arm}",version="{cell.version}"'
    )


def _latencies(cells: Iterable[Cell]) -> list[str]:
    sums: dict[str, list[int]] = {}
    for cell in cells:
        bins = sums.setdefault(_labels(cell), [0] * len(EDGES_US))
        for i, n in enumerate(cell.latency_us):
            bins[i] += n
    lines = [
        "# HELP shipway_latency_seconds From a whole request to its answer, answered requests only.",
        "# TYPE shipway_latency_seconds histogram",
    ]
    for labels, bins in sums.items():
        total = 0
        for i, n in enumerate(bins):
            total += n
            if i % OCTAVE == OCTAVE - 1 and i + 1 < len(EDGES_US):
                lines.append(f'shipway_latency_seconds_bucket{{{labels},le="{EDGES_US[i + 1] / 1e6:.6g}"}} {total}')
        # The exact sum is not kept; each answer is taken at the geometric middle of its bin, 9 % off at most.
        spent = sum(n * edge * 2**0.125 for n, edge in zip(bins, EDGES_US, strict=True)) / 1e6
        lines += [
            f'shipway_latency_seconds_bucket{{{labels},le="+Inf"}} {total}',
            f"shipway_latency_seconds_sum{{{labels}}} {spent:.6g}",
            f"shipway_latency_seconds_count{{{labels}}} {total}",
        ]
    return lines


def _safe(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
