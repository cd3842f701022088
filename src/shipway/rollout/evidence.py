"""What a rollout decides from, and what it decides: values that go into the ledger as they are."""

from typing import Literal

from msgspec import Struct

from shipway.stats.evalue import Segment
from shipway.stats.paired import Pairs

Action = Literal["hold", "advance", "promote", "rollback", "wait_approval"]


class Counts(Struct, frozen=True, forbid_unknown_fields=True):
    """The evidence of one guardrail."""

    pairs: Pairs = Pairs()
    """From the shadow."""
    segments: tuple[Segment, ...] = ()
    """From the canary, one per propensity."""

    @property
    def challenger(self) -> int:
        """Requests seen by the challenger."""
        return self.pairs.units + sum(s.challenger for s in self.segments)

    @property
    def challenger_bad(self) -> int:
        """Of these, bad; of a pair, only where the champion was right."""
        return self.pairs.worse + sum(s.challenger_bad for s in self.segments)

    @property
    def champion(self) -> int:
        """Requests seen by the champion, in the same stretches."""
        return self.pairs.units + sum(s.champion for s in self.segments)

    @property
    def champion_bad(self) -> int:
        """Of these, bad; of a pair, only where the challenger was right."""
        return self.pairs.better + sum(s.champion_bad for s in self.segments)


class Assigned(Struct, frozen=True, forbid_unknown_fields=True):
    """Requests that went to each arm at one propensity, whatever became of them."""

    propensity: int
    """Of the challenger, basis points."""
    challenger: int
    champion: int


class Evidence(Struct, frozen=True, forbid_unknown_fields=True):
    """All that a decision may look at."""

    step: int
    state: str
    """`running`, `paused` or `waiting`."""
    started_at: float
    step_started_at: float
    guardrails: dict[str, Counts]
    shadowed: int = 0
    """Requests that the shadow has scored."""
    assigned: tuple[Assigned, ...] = ()
    labelled: tuple[Assigned, ...] = ()
    """Of the assigned, those whose label has arrived."""
    units_before: int = 0
    """`units` when this step began."""
    last_unit_at: float = 0.0
    """When `units` last grew, as seen here."""
    fuses: tuple[str, ...] = ()
    """Why servers have cut the challenger off by themselves."""
    obstacles: dict[str, str] = {}
    """Guardrail -> why it cannot be measured yet."""
    auto_promote: bool = False

    @property
    def units(self) -> int:
        """Requests of the rollout so far: pairs, and canary requests of both arms."""
        return self.shadowed + sum(a.challenger + a.champion for a in self.assigned)

    @property
    def challenger_units(self) -> int:
        """Requests that the challenger has seen."""
        return self.shadowed + sum(a.challenger for a in self.assigned)


class Check(Struct, frozen=True, forbid_unknown_fields=True):
    """One guardrail, weighed."""

    name: str
    verdict: Literal["harmed", "passed", "undecided", "no_data", "not_asked"]
    log_e_harm: float
    bar_harm: float
    """Harm is proven above this."""
    log_e_margin: float
    bar_margin: float
    """Not being worse by the margin is proven above this."""
    challenger: int
    challenger_bad: int
    champion: int
    champion_bad: int
    estimate: float | None
    """Challenger's rate minus champion's."""
    low: float
    high: float
    """Always-valid 95 % interval of that difference."""
    harm: float
    margin: float
    obstacle: str = ""


class Decision(Struct, frozen=True, forbid_unknown_fields=True):
    """What to do, by which rule, from which figures."""

    action: Action
    step: int
    """The step it was decided in."""
    rule: str
    sentence: str
    checks: tuple[Check, ...]
    log_e_ratio: float
    """Evidence that units, or labels, reached the arms in the wrong shares."""
    bar_ratio: float
    units: int
    challenger_units: int
    units_before: int
    last_unit_at: float
    decided_at: float
