"""Try an endpoint from a form made of its model's signature, and say what turned out to be true.

The question goes to the data plane as any caller's does: it is counted, captured and watched with the
rest. Example rows come from the champion's bundle; columns beyond the first `SHOWN` keep the example's
values, so that nobody needs a form of a thousand fields to ask.

Not here: what a model answers (`shipway.serve`), and where labels end (`shipway.lake`).
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from markupsafe import Markup
from starlette.responses import Response

from shipway.bundle.examples import PATH, Examples
from shipway.client.predictor import Prediction, Predictor
from shipway.console import charts, draw, machine, read
from shipway.console.figures import number, percent, start
from shipway.console.sentences import Says
from shipway.console.views import Endpoint
from shipway.console.visit import Visit
from shipway.errors import Missing, Rejected, ShipwayError
from shipway.lake.labels import Label, add_labels
from shipway.terms import Column, Task

SHOWN = 60
"""Columns with a field of their own."""
AT_ONCE = 12
"""Fields that are seen at once; the others are folded away."""
CHOICES = 60
"""Known values that are offered as a choice; of more of them one is typed."""
WAIT_S = 10.0
GAP = "(missing)"


@dataclass(frozen=True)
class Field:
    """One column of the form."""

    id: str
    name: str
    value: str
    hint: str
    kind: str
    """text, number, choice or json."""
    choices: tuple[tuple[str, str], ...] = ()
    """(value, word)."""
    fault: str = ""


@dataclass(frozen=True)
class Answer:
    """What the model said, in words, and what is needed to say later whether it was right."""

    sentence: str
    bars: Markup
    event: str
    said: str
    classes: tuple[str, ...]
    by_number: bool


def page(visit: Visit) -> Response:
    """The form with an example in it; posted, the answer beside it."""
    with visit.platform.database.read() as tx:
        found = read.endpoint(tx, visit.project, visit.path("name"), visit.now)
        past = read.rollouts(tx, visit.project, found.name, limit=1)
    known = examples(visit, found)
    chosen = visit.form.get("example", "") if visit.posted else visit.query("example")
    index = int(chosen) % len(known) if known and chosen.isascii() and chosen.isdigit() and len(chosen) < 6 else 0
    row = known[index] if known else charts.middles(found.manifest)
    columns, faults = found.manifest.signature.inputs[:SHOWN], dict[str, str]()
    answer: Answer | None = None
    trouble: ShipwayError | None = None
    if visit.posted:
        asked, faults = _row(columns, visit.form)
        row = row | asked
        if not faults:
            try:
                answer = _say(found, _ask(visit, found, row))
            except ShipwayError as error:
                trouble = error
    fields = [_field(i, c, row.get(c.name), visit.form, faults.get(c.name, "")) for i, c in enumerate(columns)]
    return visit.render(
        "try.html",
        status=422 if faults else 200,
        says=_says(found, len(known)),
        endpoint=found,
        fields=fields[:AT_ONCE],
        folded=fields[AT_ONCE:],
        gaps=any(c.nullable for c in columns),
        kept=max(len(found.manifest.signature.inputs) - SHOWN, 0),
        index=index,
        known=len(known),
        answer=answer,
        trouble=trouble,
        faults=len(faults),
        latest=past[0].id if past else "",
    )


def label(visit: Visit) -> Response:
    """Put down what turned out to be true about an answer."""
    name, value = visit.path("name"), visit.form.get("value", "").strip()
    with visit.platform.database.read() as tx:
        found = read.endpoint(tx, visit.project, name, visit.now)
    if not visit.posted:
        return visit.go(f"/endpoints/{name}/try")
    classes = found.manifest.signature.classes
    if not value or (classes and value not in classes):
        raise Rejected(f"{value[:60]!r} is not a label of {name}", fix="go back and choose one of those offered")
    truth: str | float = value
    if found.manifest.task is Task.REGRESSION:
        truth = _number(value)
    with visit.platform.database.transaction() as tx:
        add_labels(tx, visit.project, name, [Label(truth, event=visit.form.get("event", ""))], visit.now)
    return visit.go(f"/endpoints/{name}/try", "labelled")


def examples(visit: Visit, endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return the example rows of the champion's bundle; none if it has none here or they are not what was packed."""
    champion = endpoint.variant("champion")
    packed = next((file for file in endpoint.manifest.files if file.path == PATH), None)
    if champion is None or packed is None:
        return []
    try:
        content = (visit.platform.bundles.path(champion.digest) / PATH).read_bytes()
    except (Missing, OSError):
        return []
    if hashlib.sha256(content).hexdigest() != packed.sha256:
        return []
    return msgspec.json.decode(content, type=Examples).rows


def _says(endpoint: Endpoint, known: int) -> Says:
    where = "an example from the rows it was packed with" if known else "values in the middle of what it has seen"
    kept = (
        "What you ask is counted, captured and watched like any other request."
        if endpoint.settings.capture
        else "What you ask is counted like any other request; capture is off, so it is not kept."
    )
    return Says(f"Ask {endpoint.name} something and see what it answers.", f"The form holds {where}. {kept}")


def _field(at: int, column: Column, value: Any, form: Mapping[str, str], fault: str) -> Field:  # noqa: ANN401 - any JSON value
    shown = form.get(f"c{at}", _written(value)) if fault else _written(value)
    gap = ((("", GAP),) if column.nullable else ()) if not column.shape else ()
    made: Callable[..., Field] = lambda kind, hint, choices=(): Field(  # noqa: E731 - the parts that all kinds share
        f"c{at}", column.name, shown, hint, kind, choices, fault
    )
    if column.shape:
        return made("json", f"numbers as JSON, of shape {'x'.join(map(str, column.shape))}")
    if column.datatype == "BOOL":
        return made("choice", "", (*gap, ("true", "true"), ("false", "false")))
    if column.datatype == "BYTES":
        levels = column.levels or ()
        if 0 < len(levels) <= CHOICES:
            new = ((shown, shown),) if shown and shown not in levels else ()
            return made("choice", f"{len(levels)} known values", (*gap, *((v, v) for v in (*levels, *new))))
        return made("text", "any text")
    seen = (
        f"seen {number(column.low)} to {number(column.high)}" if None not in (column.low, column.high) else "a number"
    )
    return made("number", seen)


def _written(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _row(columns: tuple[Column, ...], form: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the form's values, and why some of them cannot be read."""
    row, faults = dict[str, Any](), dict[str, str]()
    for i, column in enumerate(columns):
        if f"c{i}" not in form:
            continue
        try:
            row[column.name] = _value(column, form[f"c{i}"])
        except Rejected as wrong:
            faults[column.name] = f"{start(str(wrong))}: {wrong.fix}."
    return row, faults


def _value(column: Column, text: str) -> Any:  # noqa: ANN401 - any JSON value
    if column.shape:
        try:
            return json.loads(text)
        except ValueError as exc:
            raise Rejected("this is not JSON", fix="write numbers in brackets, like [1, 2.5]") from exc
    if not text.strip() and (column.datatype != "BYTES" or column.nullable):
        if column.nullable:
            return None
        raise Rejected("it may not be missing", fix="fill it in")
    if column.datatype == "BYTES":
        return text
    if column.datatype == "BOOL":
        return text == "true"
    value = _number(text)
    if column.datatype.startswith("INT"):
        if not value.is_integer():
            raise Rejected("it must be a whole number", fix="leave the fraction out")
        return int(value)
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError as exc:
        raise Rejected("this is not a number", fix="write it like 1234.5, with a point and no spaces") from exc
    if not math.isfinite(value):
        raise Rejected("this is not a finite number", fix="write it like 1234.5")
    return value


def _ask(visit: Visit, endpoint: Endpoint, row: dict[str, Any]) -> Prediction:
    url = machine.server_url(visit.platform.settings)
    with Predictor(url, visit.form.get("token", "").strip(), timeout_s=WAIT_S) as predictor:
        return predictor.predict(endpoint.name, [row])


def _say(endpoint: Endpoint, told: Prediction) -> Answer:
    first = told.rows[0] if told.rows else {}
    by = f"Version {told.version}" + (", the one on trial," if told.variant == "challenger" else "")
    classes, bars = endpoint.manifest.signature.classes, Markup("")
    if "label" in first:
        chances = {str(name): float(p) for name, p in (first.get("probability") or {}).items() if p is not None}
        said = str(first["label"])
        sure = f", with a probability of {percent(chances[said])}" if said in chances else ""
        sentence = f"{by} says {said}{sure}."
        ranked = sorted(chances.items(), key=lambda pair: -pair[1])[:8]
        if ranked:
            words = ", ".join(f"{name} {percent(p)}" for name, p in ranked)
            bars = draw.levels([(name, 0.0, p, name == said) for name, p in ranked], f"Probability: {words}")
    elif "prediction" in first:
        said = _written(first["prediction"])
        sentence = f"{by} says {number(first['prediction'], 5)}."
    else:
        said, sentence = json.dumps(first, ensure_ascii=False)[:2000], f"{by} answers {json.dumps(first)[:200]}."
    return Answer(sentence, bars, told.event_id, said, classes, endpoint.manifest.task is Task.REGRESSION)
