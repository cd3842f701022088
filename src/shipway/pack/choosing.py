"""Choose the conversion of a model: the first one whose answers equal the original's."""

from collections.abc import Callable
from dataclasses import dataclass

from shipway.bundle.runtime import Runtime
from shipway.errors import Rejected
from shipway.pack.attempts import Candidate
from shipway.pack.edges import edges_of
from shipway.pack.opening import open_candidate
from shipway.pack.original import Original
from shipway.pack.parity import Parity, Trial, compare, explain, trial
from shipway.pack.report import Attempt
from shipway.pack.subject import Subject

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Won:
    """The conversion that was chosen, open, with the comparison and what was tried before it."""

    candidate: Candidate
    runtime: Runtime
    parity: Parity
    attempts: tuple[Attempt, ...]


def choose(subject: Subject, name: str = "model", say: Progress = lambda words: None) -> Won:  # noqa: ARG005
    """Try converters in order until one equals the original.

    Args:
        subject: what is converted.
        name: of the model.
        say: called with a few words as each attempt begins.

    Raises:
        Rejected: none does; the message says what each one lacked.
    """
    attempts: list[Attempt] = []
    asked: Trial | None = None
    edges: dict[str, list[float]] | None = None
    for converter, packer in subject.tries.items():
        say(f"converting with {converter}")
        runtime = None
        try:
            candidate = packer(subject.oracle, subject.levels)  # type: ignore[arg-type]
            edges = edges or _edges(subject, candidate)
            runtime = open_candidate(candidate, name, subject.task, subject.signature)
            asked = asked or trial(subject.oracle, subject.holdout, edges, subject.refused)
            parity = compare(subject.task, asked, runtime.predict, candidate.tolerance)
        except Exception as exc:  # noqa: BLE001 - any converter may fail in any way; that is an answer
            attempts.append(Attempt(converter, False, explain(exc)))
        else:
            attempts.append(Attempt(converter, parity.holds, parity.sentence()))
            if parity.holds:
                return Won(candidate, runtime, parity, tuple(attempts))
        if runtime is not None:
            runtime.close()
    reasons = "; ".join(f"{a.converter}: {a.detail[:160]}" for a in attempts)
    raise Rejected(
        f"no conversion of this {subject.name} answers as the original does ({reasons})",
        fix="use a model from the list in the documentation of `shipway pack`, or export it to ONNX yourself",
    )


def _edges(subject: Subject, candidate: Candidate) -> dict[str, list[float]] | None:
    """Return raw thresholds to look at, {} if there are none, None where there is no original to ask."""
    if not isinstance(subject.oracle, Original):
        return None
    if candidate.encoding is not None:
        return candidate.edges
    return edges_of(subject.oracle, subject.levels)
