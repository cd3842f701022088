"""The nouns that all rooms share: frozen values that check themselves and do nothing else.

Everything that passes between rooms or crosses a wire is one of these. They are msgspec structs,
so that one definition is the value, its check and its JSON (`msgspec.json.encode` and `decode`).
Fractions are fractions of one; weights are whole basis points (10,000 is all); times are Unix
seconds in UTC where the name ends in `_at`, durations carry their unit in the name.

Not here: anything that reads a clock, a file or a database, and anything only one room needs.
"""

import re
from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct

from shipway.errors import Rejected

FORMAT = 1
"""Version of every wire and disk format. Readers accept this and the one before; writers write this."""

BASIS = 10_000
"""Weights and probabilities in basis points add up to this."""

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Task(StrEnum):
    """What a model predicts."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
    OTHER = "other"


class Verdict(StrEnum):
    """What evidence says. Undecided is an answer, never a soft pass."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"


Datatype = Literal["BOOL", "INT32", "INT64", "FP32", "FP64", "BYTES"]
"""Open Inference Protocol V2 datatypes that columns may have. BYTES is UTF-8 text."""


def name(value: str, what: str) -> str:
    """Give `value` back if it may name a `what` (a model, an endpoint, an alias, a project).

    Raises:
        Rejected: it is not 1 to 64 of a-z, 0-9, dot, dash and underscore, starting and ending with a letter or digit.

    >>> name("churn-eu", "model")
    'churn-eu'
    """
    if NAME.fullmatch(value):
        return value
    shown = value if len(value) <= 40 else value[:40] + "..."
    raise Rejected(
        f"{shown!r} cannot name {'an' if what[0] in 'aeiou' else 'a'} {what}",
        fix="use 1 to 64 of a-z, 0-9, dot, dash and underscore, starting and ending with a letter or a digit",
    )


def digest(value: str) -> str:
    """Give `value` back if it is written as a digest, `sha256:` and 64 hexadecimal digits.

    Raises:
        Rejected: it is not.
    """
    if DIGEST.fullmatch(value):
        return value
    raise Rejected(f"{value[:80]!r} is not a digest", fix="a digest is 'sha256:' and 64 of 0-9 and a-f")


class Column(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One input or output of a model.

    In process a column of n rows is a numpy array of shape (n, *shape): float64 for FP64, float32 for
    FP32, int64, int32, bool, and an object array of str or None for BYTES. A missing number is NaN.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...] = ()
    """Shape of one row; () is a scalar."""
    nullable: bool = False
    """True if the model takes missing cells (tried when packing), so that live traffic with one is not refused."""
    integral: bool = False
    """True if an FP64 column held only whole numbers."""
    levels: tuple[str, ...] | None = None
    """Known values of a BYTES column, sorted; None if free text or more than 1,000."""
    low: float | None = None
    """Smallest number seen when packing."""
    high: float | None = None
    """Largest number seen when packing."""


class Signature(Struct, frozen=True, forbid_unknown_fields=True):
    """Names, types, shapes and allowed values of a model's inputs and outputs, in order.

    Classifiers answer `label` (BYTES, one of `classes`) and `probability` (FP64, shape (K,), aligned
    with `classes`). Regressors answer `prediction` (FP64). Any other model answers its own tensors.
    """

    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    classes: tuple[str, ...] = ()
    """Labels as text, in the order of `probability`. For binary the second is the positive one."""

    def input(self, column: str) -> Column | None:
        """Return the input column of this name, or None."""
        return next((c for c in self.inputs if c.name == column), None)


class File(Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a bundle."""

    path: str
    """Relative, with forward slashes, inside the bundle."""
    sha256: str
    """64 hexadecimal digits."""
    size: int
    media_type: str


class RuntimeSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """How a bundle is run: which runtime opens which file."""

    kind: str
    """`onnx`, `lightgbm`, or the entry-point name of another runtime."""
    entry: str
    """Path of the model file inside the bundle."""
    options: dict[str, Any] = {}
    """For the runtime alone, e.g. the path of the text encoding and the names of graph outputs."""
    cost_us: dict[str, float] = {}
    """Measured when packing: {"1": microseconds for one row, "64": for 64}."""
    inline: bool = False
    """True if it may run in the worker: native, under a millisecond, no Loop, Scan or If."""


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle is. Its digest is the sha256 of its RFC 8785 bytes, which are `manifest.json`."""

    format: int
    model: str
    task: Task
    signature: Signature
    runtime: RuntimeSpec
    files: tuple[File, ...]
    environment: dict[str, Any]
    """Interpreter, platform, packages with versions and RECORD digests."""
    provenance: dict[str, Any]
    """git commit and dirtiness, data digests, command, seed, parent digest, who, when."""
    parity: dict[str, Any]
    """What conversion was compared with the original on, tolerance, largest difference, labels changed."""
    metrics: dict[str, Any] = {}
    """Holdout metrics with intervals, measured when packing; {} without labels."""
    description: str = ""


class Variant(Struct, frozen=True):
    """One version behind an endpoint."""

    name: str
    """`champion` or `challenger` (a holdback is a `champion` with a small weight again)."""
    model: str
    version: int
    digest: str
    weight: int = 0
    """Share of answers in basis points; 0 for a shadow."""
    mode: Literal["answer", "shadow"] = "answer"
    isolated: bool = False
    """True: it runs in a runner, a child process of the worker."""
    shadow_share: int = 0
    """Share of captured requests that a shadow re-scores, in basis points."""
    timeout_ms: int = 1000


class EndpointRoute(Struct, frozen=True):
    """What a server does with requests to one endpoint."""

    project: str
    name: str
    variants: tuple[Variant, ...]
    rollout: str = ""
    """Id of the running rollout, or "". The assignment salt is `<rollout>|assign|<restart>`."""
    restart: int = 0
    sticky: str = ""
    """`header:NAME` or "" for one assignment per request."""
    capture: bool = True
    capture_required: bool = False
    deadline_ms: int = 2000
    """The caller's deadline where the request states none (`shipway-deadline-ms`)."""
    max_rows: int = 10_000

    def variant(self, named: str) -> Variant | None:
        """Return the variant of this name, or None."""
        return next((v for v in self.variants if v.name == named), None)


class PredictToken(Struct, frozen=True):
    """Right to call endpoints, as servers know it: by the hash of the secret."""

    endpoints: tuple[str, ...]
    """`project/endpoint` or `project/*`."""
    expires_at: float | None = None


class RouteTable(Struct, frozen=True):
    """The immutable description of endpoints and variants that servers obey."""

    format: int
    epoch: int
    issued_at: float
    ledger_head: str
    endpoints: tuple[EndpointRoute, ...]
    tokens: dict[str, PredictToken] = {}
    """sha256 (hex) of the secret -> what it may call. Empty: callers need no token."""


class Cell(Struct, frozen=True):
    """One count of one arm of a rollout: what servers push and the controller adds up.

    Monotone for one (server, incarnation). `outcome` is `ok`, `error`, `timeout`, `invalid` (non-finite
    output), `crash`, `collateral`. The four in the middle are failures of the arm, although the champion may
    have answered.
    """

    project: str
    endpoint: str
    rollout: str
    restart: int
    propensity: int
    """Challenger's probability at exposure, basis points."""
    arm: Literal["champion", "challenger"]
    version: int
    outcome: str
    n: int
    latency_us: tuple[int, ...] = ()
    """Counts per latency bin, 4 bins an octave from 1 us; only on `ok` cells."""


FAILURES = frozenset({"error", "timeout", "invalid", "crash"})
"""Outcomes that count against the arm. `collateral` (a runner killed for a neighbour) does not."""


class CountsReport(Struct, frozen=True):
    """One push of counts from a server; also its heartbeat."""

    format: int
    server: str
    incarnations: dict[str, tuple[Cell, ...]]
    """Worker incarnation -> all of its cells so far (totals, not differences)."""
    finished: tuple[str, ...] = ()
    """Incarnations whose writer is dead and whose cells here are final."""
    epoch: int = 0
    """Route-table epoch that every worker of this server has applied."""
    health: dict[str, Any] = {}
    """Workers alive, capture lag and drops, shadow lag, fuses open: shown, and watched for silence."""


class Signal(Struct, frozen=True):
    """What a monitor says when something changed."""

    id: str
    project: str
    endpoint: str
    kind: Literal["drift", "quality", "performance", "fairness", "latency", "traffic", "silence"]
    since: float
    """Best estimate of when it began."""
    raised_at: float
    sentence: str
    """What changed, how sure, how bad, in words."""
    log_e: float
    bar: float
    """log of the bar that `log_e` crossed."""
    columns: tuple[str, ...] = ()
    """Most affected first."""
    effect: dict[str, Any] = {}
    """Estimated effect on the metric that matters, with its interval."""
    actions: tuple[str, ...] = ()
    """What to do, best first, each a command."""
    evidence: str = ""
    """Where the numbers are: a console path or a lake snapshot."""
    details: dict[str, Any] = {}


class Ref(Struct, frozen=True):
    """A parsed model reference: `name`, `name@alias`, `name:version` or a digest."""

    model: str = ""
    alias: str = ""
    version: int = 0
    digest: str = ""

    def __str__(self) -> str:
        if self.digest:
            return self.digest
        if self.alias:
            return f"{self.model}@{self.alias}"
        return f"{self.model}:{self.version}" if self.version else self.model


def ref(text: str) -> Ref:
    """Parse a model reference.

    Raises:
        Rejected: it is none of the four forms.

    >>> ref("churn@champion"), str(ref("churn:3"))
    (Ref(model='churn', alias='champion', version=0, digest=''), 'churn:3')
    """
    if text.startswith("sha256:"):
        return Ref(digest=digest(text))
    model, at, alias = text.partition("@")
    if at:
        return Ref(model=name(model, "model"), alias=name(alias, "alias"))
    model, colon, version = text.partition(":")
    if not colon:
        return Ref(model=name(model, "model"))
    if not version.isascii() or not version.isdigit() or int(version) < 1:
        raise Rejected(f"{text!r} has no version after the colon", fix="write it like churn:3, churn@champion or churn")
    return Ref(model=name(model, "model"), version=int(version))


class Principal(Struct, frozen=True):
    """Who acts: checked once at the edge, then passed on."""

    name: str
    project: str
    role: Literal["admin", "predict", "server", "system"]
    """`admin` may do all in its project; `predict` may call endpoints and send labels; `server` may pull
    routes and push counts."""


__all__ = [
    "BASIS", "FAILURES", "FORMAT", "Cell", "Column", "CountsReport", "Datatype", "EndpointRoute", "File", "Manifest",
    "PredictToken", "Principal", "Ref", "RouteTable", "RuntimeSpec", "Signal", "Signature", "Task", "Variant",
    "Verdict", "digest", "name", "ref",
]  # fmt: skip
