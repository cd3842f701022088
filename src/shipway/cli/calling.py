"""Commands that callers use: predict, label."""

import math
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from shipway.cli.assignments import scalar
from shipway.cli.frame import PLATFORM, Answer, Session, command, encode, group, table
from shipway.errors import Rejected

app = group("Call endpoints.")

_AT_ONCE = 1000


@command(app, "predict", options=PLATFORM)
def predict(
    session: Session,
    *,
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")],
    row: Annotated[
        list[str] | None, typer.Option(help="One row as a JSON object; may be given again.", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Rows as CSV, Parquet or JSON lines.", show_default=False)] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Send only the first rows of the file.", show_default=False)
    ] = None,
    key: Annotated[str, typer.Option(help="Your own id of the request, for labels.")] = "",
) -> Answer:
    """Ask an endpoint for predictions, over HTTP as any caller does.

    From a file, columns that the model does not take are left out, and a number where the model takes text
    is sent as text.
    """
    if bool(row) == bool(file):
        raise Rejected(
            "give rows either by --row or by --file", fix=f"shipway predict {endpoint} --row '{{\"column\": 1}}'"
        )
    rows = [parsed(text) for text in row or ()]
    if file is not None:
        rows = fitted(records(file)[:limit], session.client.predictor().inputs(endpoint))
    answers = []
    with session.progress("predicting") as tell:
        for start in range(0, len(rows), _AT_ONCE):
            part = session.client.predict(
                endpoint, rows[start : start + _AT_ONCE], key=key if len(rows) <= _AT_ONCE else ""
            )
            answers.append(part)
            tell("predicting", min(1.0, (start + _AT_ONCE) / len(rows)))
    value = answers[0] if len(answers) == 1 else {"answers": answers}
    lines = [
        [answer.event_id, i, f"{answer.model}:{answer.version}", _said(said)]
        for answer in answers
        for i, said in enumerate(answer.rows)
    ]
    return Answer(value, table(["event", "row", "version", "answer"], lines))


def fitted(rows: list[dict[str, Any]], inputs: dict[str, str]) -> list[dict[str, Any]]:
    """Keep the columns that a model takes, and write text where it takes text.

    >>> fitted([{"age": 41, "zip": 8001, "churned": "no"}], {"age": "FP64", "zip": "BYTES"})
    [{'age': 41, 'zip': '8001'}]
    """

    def cell(value: Any, datatype: str) -> Any:  # noqa: ANN401 - a cell
        return str(value) if datatype == "BYTES" and value is not None else value

    return [{name: cell(row[name], datatype) for name, datatype in inputs.items() if name in row} for row in rows]


def _said(answer: dict[str, Any]) -> str:
    if "label" in answer:
        chances = answer.get("probability") or {}
        return f"{answer['label']} ({', '.join(f'{name} {p:.4f}' for name, p in chances.items() if p is not None)})"
    return encode(answer.get("prediction", answer))


def parsed(text: str) -> dict[str, Any]:
    """Parse one row.

    Raises:
        Rejected: it is not a JSON object.
    """
    try:
        return msgspec.json.decode(text.encode(), type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
        raise Rejected(
            f"the row is not a JSON object: {exc}", fix='write it like --row \'{"age": 41, "plan": "basic"}\''
        ) from exc


def records(path: Path) -> list[dict[str, Any]]:
    """Read a file of rows as records; a missing cell is None.

    Raises:
        Rejected: it has no rows, or cannot be read.
    """
    from shipway.pack import read_table

    found: list[dict[str, Any]] = read_table(path).to_pylist()
    for record in found:
        for key, value in record.items():
            if isinstance(value, float) and math.isnan(value):
                record[key] = None
    return found


@command(app, "label", options=PLATFORM)
def label(  # noqa: PLR0913 - each is an option of the command
    session: Session,
    *,
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")],
    event: Annotated[str, typer.Option(help="Event id, as `predict` printed it.")] = "",
    key: Annotated[str, typer.Option(help="Your own key, as it was sent with the request.")] = "",
    value: Annotated[str | None, typer.Option(help="What turned out to be true.", show_default=False)] = None,
    row: Annotated[int, typer.Option(min=0, help="Row of the request, from 0.")] = 0,
    file: Annotated[
        Path | None,
        typer.Option(help="Labels as CSV, Parquet or JSON lines: event or key, value, row.", show_default=False),
    ] = None,
) -> Answer:
    """Say what turned out to be true about an event, or about many from a file."""
    if file is not None and value is None:
        labels = _from(file)
    elif value is not None and file is None:
        labels = [{"event": event, "key": key, "row": row, "value": scalar(value)}]
    else:
        raise Rejected(
            "give labels either by --value or by --file", fix=f"shipway label {endpoint} --event ID --value yes"
        )
    taken = 0
    doubts: list[str] = []
    with session.progress("labelling") as tell:
        for start in range(0, len(labels), 10 * _AT_ONCE):
            said = session.client.send_labels(endpoint, labels[start : start + 10 * _AT_ONCE])
            taken += said["accepted"]
            doubts += said.get("doubts", [])
            tell("labelling", min(1.0, taken / len(labels)))
    found = {"accepted": taken, "doubts": doubts} if doubts else {"accepted": taken}
    lines = [f"{taken} label{'s' if taken != 1 else ''} taken for {endpoint}", *(f"  but {one}" for one in doubts[:10])]
    return Answer(found, "\n".join(lines))


def _from(path: Path) -> list[dict[str, Any]]:
    known = {"event", "key", "row", "value", "name", "at"}
    rows = records(path)
    if rows and ("value" not in rows[0] or not {"event", "key"} & set(rows[0])):
        raise Rejected(
            f"{path} has the columns {', '.join(rows[0])}",
            fix="labels need a column `value` and a column `event` or `key`",
        )
    labels = [{name: cell for name, cell in row.items() if name in known and cell is not None} for row in rows]
    for at, one in enumerate(labels):
        if "value" not in one:
            raise Rejected(f"row {at + 1} of {path} has no value", fix="leave rows out whose truth is not known yet")
        for name in ("event", "key"):
            if name in one:
                one[name] = str(one[name])
    return labels
