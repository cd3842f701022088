"""Answer a prediction: assign an arm, ask it, fall back to the champion, count, capture.

`Answering.infer` does everything for one request and returns at once; where a model runs in a child
or in a thread, the answer follows. Whatever a challenger does (raise, answer a NaN, hang, die), the
champion answers the same request within the caller's deadline, the failure counts against the arm
that was assigned, and the record says so (`FALLBACK`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import orjson

from shipway.endpoint.assign import choose
from shipway.errors import Rejected, ShipwayError
from shipway.serve.dialect import records, strict, v2
from shipway.serve.dialect.question import Question, caller_key
from shipway.serve.engine.loader import InlineEngine
from shipway.serve.engine.sound import fault
from shipway.serve.flight import Flight
from shipway.serve.journal import Journal
from shipway.serve.route.table import EMPTY, Arm, Served, Table
from shipway.serve.route.turn import Turn
from shipway.serve.transport.exchange import Exchange, head
from shipway.terms import FAILURES, Signature

logger = logging.getLogger("shipway.serve.answer")

MARGIN_S = 0.02
"""Kept back for the scheduler, which was seen to oversleep by 6 to 23 ms."""

LEAST_S = 0.005
"""A challenger is asked only if it would have at least this long."""

LONGEST_MS = 600_000

Outputs = Mapping[str, np.ndarray[Any, Any]]


class Answering:
    """The predictions of one worker. `table` is swapped as a whole; `lost` is set while the control plane is silent."""

    def __init__(self, journal: Journal, flight: Flight) -> None:
        loop = asyncio.get_running_loop()
        self.table: Table = EMPTY
        self.lost = False
        self.ineligible = 0
        """Requests whose deadline left no time for a challenger."""
        self._journal = journal
        self._flight = flight
        self._time = time.monotonic
        self._later = loop.call_later

    def infer(self, exchange: Exchange, served: Served) -> None:
        """Answer a prediction request, now or soon."""
        champion = served.champion
        if champion is None:
            fix = "look at the server's log, or deploy another version"
            exchange.refuse(503, f"{served.route.name} cannot answer: {served.problem}", fix, b"retry-after: 1\r\n")
            return
        try:
            document = strict.parse(exchange.body)
        except Rejected as exc:
            exchange.refuse(400, str(exc), exc.fix)
            return
        try:
            turn = self._read(exchange, served, document, champion)
        except ShipwayError as exc:
            exchange.refuse(exc.status, str(exc), exc.fix)
            return
        self._assign(turn, champion)
        if turn.assigned is champion:
            self._ask(turn, champion, turn.columns, turn.deadline)
        else:
            self._ask_challenger(turn, turn.assigned, champion)

    def _read(self, exchange: Exchange, served: Served, document: Any, champion: Arm) -> Turn:  # noqa: ANN401 - parsed JSON
        headers = exchange.headers
        dialect = _dialect(document)
        question = dialect(document, exchange.body, champion.engine.manifest.signature, served.route.max_rows)
        turn = Turn(exchange, served, champion, document, question, self._time)
        key = headers.get(b"shipway-key")
        if key is not None:
            turn.key = caller_key(key.decode("utf-8", "replace"))
        stated = headers.get(b"shipway-deadline-ms")
        turn.deadline = exchange.at + (served.route.deadline_ms if stated is None else _milliseconds(stated)) / 1000
        return turn

    def _assign(self, turn: Turn, champion: Arm) -> None:
        served = turn.served
        turn.event = turn.unit = self._journal.event()
        challenger = served.challenger
        if challenger is None:
            return
        if served.sticky:
            # Without its key a request has no stable arm; it belongs to no test.
            turn.unit = turn.exchange.headers.get(served.sticky, b"")
            if not turn.unit:
                return
        if self.lost or challenger.fuse.why:
            return
        timeout_s = challenger.variant.timeout_ms / 1000
        now = self._time()
        budget = min(timeout_s, turn.deadline - now - 2 * champion.engine.slow_s - MARGIN_S)
        if budget < LEAST_S:
            self.ineligible += 1
            return
        variant, turn.propensity = choose(served.route, turn.unit)
        if variant.name == challenger.variant.name:
            turn.assigned = challenger
            turn.budget = now + budget

    def _ask_challenger(self, turn: Turn, challenger: Arm, champion: Arm) -> None:
        signature = challenger.engine.manifest.signature
        if signature.inputs != champion.engine.manifest.signature.inputs:
            try:
                dialect, max_rows = _dialect(turn.document), turn.served.route.max_rows
                turn.columns = dialect(turn.document, turn.exchange.body, signature, max_rows).columns
            except Rejected as exc:
                self._told(turn, challenger, "error", None, str(exc))
                return
        if challenger.engine.inline:
            self._flight.mark(challenger.variant.digest)
            self._ask(turn, challenger, turn.columns, turn.budget)
            self._flight.clear()
        else:
            self._ask(turn, challenger, turn.columns, turn.budget)

    def _ask(self, turn: Turn, arm: Arm, columns: dict[str, np.ndarray[Any, Any]], deadline: float) -> None:
        engine = arm.engine
        if not isinstance(engine, InlineEngine):
            engine.submit(columns, deadline, partial(self._told, turn, arm))
            return
        if turn.question.rows > engine.slice_rows:
            self._ask_in_slices(turn, arm, columns, [])
            return
        began = self._time()
        try:
            outputs = engine.predict(columns)
        except Exception as exc:  # noqa: BLE001 - a model may raise anything
            self._told(turn, arm, "error", None, f"{type(exc).__name__}: {exc}")
            return
        engine.slow_s = max(engine.slow_s * 0.99, self._time() - began)
        self._told(turn, arm, "ok", outputs, "")

    def _ask_in_slices(
        self, turn: Turn, arm: Arm, columns: dict[str, np.ndarray[Any, Any]], parts: list[Outputs]
    ) -> None:
        """Predict one slice now and the rest in later rounds of the loop, so that others are answered in between."""
        engine = arm.engine
        assert isinstance(engine, InlineEngine)  # noqa: S101 - runners are another process and need no slices
        begin = len(parts) * engine.slice_rows
        end = begin + engine.slice_rows
        try:
            parts.append(engine.predict({name: values[begin:end] for name, values in columns.items()}))
        except Exception as exc:  # noqa: BLE001 - a model may raise anything
            self._told(turn, arm, "error", None, f"{type(exc).__name__}: {exc}")
            return
        if end >= turn.question.rows:
            outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            self._told(turn, arm, "ok", outputs, "")
        elif self._time() > (turn.budget if arm is turn.served.challenger else turn.deadline):
            self._told(turn, arm, "timeout", None, f"{end} of {turn.question.rows} rows were done in time")
        else:
            self._later(0.0, self._ask_in_slices, turn, arm, columns, parts)

    def _told(self, turn: Turn, arm: Arm, outcome: str, outputs: Outputs | None, sentence: str) -> None:
        """Take what an arm said, and answer, or turn to the champion."""
        if outputs is not None:
            sentence = fault(arm.engine.manifest.signature, outputs, turn.question.rows)
            outcome = "invalid" if sentence else outcome
        challenged = arm is turn.served.challenger
        if challenged and outcome == "ok" and self._time() > turn.budget + MARGIN_S:
            outcome, sentence = "timeout", "it answered too late"
        if outcome == "ok" and outputs is not None:
            if challenged:
                arm.fuse.answered()
            self._finish(turn, arm, outputs)
        elif challenged:
            self._fall_back(turn, arm, outcome, sentence)
        elif outcome == "collateral" and not turn.retried and self._time() < turn.deadline:
            turn.retried = True
            self._ask(turn, arm, turn.question.columns, turn.deadline)
        else:
            self._fail(turn, arm, outcome, sentence)

    def _fall_back(self, turn: Turn, arm: Arm, outcome: str, sentence: str) -> None:
        turn.failure = outcome
        if outcome in FAILURES and arm.fuse.failed(sentence):
            logger.warning("the fuse of %s:%d opened: %s", arm.variant.model, arm.variant.version, arm.fuse.why)
        champion = turn.served.champion
        assert champion is not None  # noqa: S101 - `infer` began with one, and the table is pinned
        self._flight.clear()
        self._ask(turn, champion, turn.question.columns, turn.deadline)

    def _finish(self, turn: Turn, arm: Arm, outputs: Outputs) -> None:
        question, manifest, variant = turn.question, arm.engine.manifest, arm.variant
        event = turn.event.hex()
        if "rows" in turn.document:
            body = records.write(manifest.signature, outputs, event=event, model=variant.model, version=variant.version)
        else:
            name = turn.served.route.name
            body = v2.write(manifest.signature, outputs, model=name, version=variant.version, name=question.id)
        self._leave(turn, arm, 200, body, outputs)

    def _fail(self, turn: Turn, arm: Arm, outcome: str, sentence: str) -> None:
        name = f"{arm.variant.model}:{arm.variant.version}"
        turn.failure = turn.failure or outcome
        logger.warning("%s could not answer: %s: %s", name, outcome, sentence)
        if outcome in ("timeout", "collateral"):
            status, fix = 504 if outcome == "timeout" else 503, "try again, or allow more time in shipway-deadline-ms"
        else:
            status, fix = (
                500,
                "look at the row: this version raises or answers no number for it; roll back if it is common",
            )
        body = orjson.dumps({"error": f"{name} could not answer: {sentence[:300]}", "fix": fix})
        self._leave(turn, arm, status, body, {})

    def _leave(self, turn: Turn, arm: Arm, status: int, body: bytes, outputs: Outputs) -> None:
        headers = b"shipway-event-id: %b\r\n%b" % (turn.event.hex().encode(), arm.headers)
        heading = head(status, len(body), headers, turn.exchange.date)
        self._journal.take(turn, arm, status, (heading, body), outputs)


def _dialect(document: Any) -> Callable[[dict[str, Any], bytes, Signature, int], Question]:  # noqa: ANN401 - parsed JSON
    if type(document) is dict:
        if "rows" in document:
            return records.read
        if "inputs" in document:
            return v2.read
    strict.shallow(document)
    raise Rejected(
        "the body is neither an object with 'rows' nor one with 'inputs'",
        fix='send {"rows": [{"column": value}]} or a V2 inference request',
    )


def _milliseconds(stated: bytes) -> int:
    if stated.isdigit() and len(stated) < 9 and 0 < int(stated) <= LONGEST_MS:
        return int(stated)
    raise Rejected(
        f"shipway-deadline-ms is not a whole number from 1 to {LONGEST_MS}", fix="send milliseconds, or leave it out"
    )
