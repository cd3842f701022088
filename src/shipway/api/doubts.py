"""What is odd about labels that were taken all the same: said at once, to whoever sent them.

A label is kept even where it names no known class or event: a new class is news, and captures may come late.
But most of these are mistakes, and they would count against a version or never be joined.
"""

from collections.abc import Sequence
from contextlib import suppress

from shipway.api.call import Call
from shipway.bundle.runtime.answers import label as spelled
from shipway.capture.ids import id_time, normal_id
from shipway.endpoint import SqlEndpoints
from shipway.lake.labels import Label
from shipway.registry import SqlRegistry
from shipway.terms import Manifest, Task

LATE_S = 300.0
"""Captures reach the lake within seconds; a label that still has no event after this names none."""

LOOK_UP = 3
"""So many events are looked up in the lake; for more, `GET /v1/labels/unknown` counts later."""


def doubts(call: Call, endpoint: str, labels: Sequence[Label]) -> list[str]:
    """Return one sentence for each kind of oddity, the first example named."""
    with call.platform.database.read() as tx:
        row = SqlEndpoints(tx).get(call.project, endpoint)
        manifest = SqlRegistry(tx).version(call.project, row.model, row.champion).manifest
    said = [_strange_values(manifest, f"{row.model}:{row.champion}", labels)]
    if len(labels) <= LOOK_UP:
        # The labels are in already: whatever is wrong with the lake must not make them look refused.
        with suppress(Exception):
            said += [_strange_event(call, endpoint, label.event) for label in labels if label.event]
    return [sentence for sentence in said if sentence]


def _strange_values(manifest: Manifest, version: str, labels: Sequence[Label]) -> str:
    truths = [label.value for label in labels if label.name == "label"]
    classes = manifest.signature.classes
    if manifest.task is Task.REGRESSION:
        strange = [spelled(value) for value in truths if isinstance(value, str) and not _is_number(value)]
        wanted = "numbers"
    elif classes:
        strange = [spelled(value) for value in truths if spelled(value) not in classes]
        wanted = ", ".join(classes[:10]) + (f" and {len(classes) - 10} more" if len(classes) > 10 else "")
    else:
        return ""
    if not strange:
        return ""
    count = f"{len(strange)} of {len(truths)} labels" if len(truths) > 1 else "the label"
    return f"{count} cannot be an answer of {version}, which knows {wanted}: {strange[0][:40]!r}"


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _strange_event(call: Call, endpoint: str, event: str) -> str:
    if id_time(normal_id(event)) > call.now - LATE_S:
        return ""  # it may still be on its way
    if call.platform.lake.find(call.project, endpoint, event).num_rows:
        return ""
    return f"no event {event} was captured at {endpoint}; check the id"
