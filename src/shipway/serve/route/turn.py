"""One request on its way: what it asked, which table it pinned, whom it was assigned to."""

from collections.abc import Callable
from typing import Any

import numpy as np

from shipway.serve.dialect.question import Question
from shipway.serve.route.table import Arm, Served
from shipway.serve.transport.exchange import Exchange


class Turn:
    """State of one prediction until it is answered."""

    __slots__ = (
        "assigned",
        "budget",
        "columns",
        "deadline",
        "document",
        "event",
        "exchange",
        "failure",
        "key",
        "propensity",
        "question",
        "retried",
        "served",
        "time",
        "unit",
    )

    def __init__(
        self,
        exchange: Exchange,
        served: Served,
        champion: Arm,
        document: dict[str, Any],
        question: Question,
        time: Callable[[], float],
    ) -> None:
        self.exchange = exchange
        self.served = served
        self.document = document
        self.question = question
        self.columns: dict[str, np.ndarray[Any, Any]] = question.columns
        """Inputs as the assigned arm takes them; `question.columns` are the champion's."""
        self.key = question.key
        self.time = time
        self.deadline = 0.0
        self.budget = 0.0
        """Until when the challenger may answer; `time.monotonic`, like `deadline`."""
        self.assigned = champion
        self.propensity = 0
        self.event = b""
        self.unit = b""
        self.failure = ""
        """How the assigned arm failed, or ""."""
        self.retried = False
