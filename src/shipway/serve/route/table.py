"""A route table as a worker holds it: every variant with its engine, ready to answer.

`compile_table` joins a table with loaded engines and never fails: an endpoint whose champion cannot
be loaded keeps what it had before, or says why it cannot answer; a challenger that cannot be loaded
gets no traffic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shipway.capture.record import Prepared
from shipway.serve.engine.loader import Engine
from shipway.serve.route.fuse import Fuse
from shipway.terms import EndpointRoute, PredictToken, RouteTable, Variant

Key = tuple[str, bool]
"""What is loaded once: a digest, isolated or not."""


@dataclass(slots=True)
class Arm:
    """A variant that can be asked."""

    variant: Variant
    engine: Engine
    headers: bytes
    """Header lines that name it in answers."""
    fuse: Fuse = field(default_factory=Fuse)


@dataclass(slots=True)
class Served:
    """An endpoint with its arms. `champion` is None only if its model could not be loaded; `problem` says why."""

    route: EndpointRoute
    epoch: int
    champion: Arm | None
    challenger: Arm | None
    problem: str = ""
    sticky: bytes = b""
    """Lower-case name of the header whose value is the unit of assignment; b"" for one assignment per request."""
    scope: str = ""
    """`project/name`, as tokens name it."""
    contexts: dict[tuple[str, str, int], Prepared] = field(default_factory=dict)
    """What captures share, by answering arm, assigned arm and probability."""
    cells: dict[tuple[str, str, str, int], int] = field(default_factory=dict)
    """Where outcomes are counted, by counts file, assigned arm, outcome and probability."""


@dataclass(slots=True)
class Table:
    """What a request pins."""

    epoch: int
    endpoints: dict[str, Served]
    tokens: dict[str, PredictToken]
    keys: frozenset[Key]
    """Engines in use."""
    issued_at: float = 0.0
    problems: dict[str, str] = field(default_factory=dict)
    """`project/endpoint` -> why it is not served as the table says."""

    def served(self) -> list[Served]:
        """Return each endpoint once; `endpoints` has it under two names."""
        return [served for name, served in self.endpoints.items() if name == served.scope]


EMPTY = Table(0, {}, {}, frozenset())


def answering(route: EndpointRoute) -> tuple[Variant, ...]:
    """Return the variants that workers run; shadows run elsewhere."""
    return tuple(v for v in route.variants if v.mode == "answer")


def needed(table: RouteTable) -> set[Key]:
    """Return what must be loaded before a table is applied."""
    return {(v.digest, v.isolated) for route in table.endpoints for v in answering(route)}


def compile_table(
    table: RouteTable, engines: Mapping[Key, Engine], failures: Mapping[Key, str], before: Table
) -> Table:
    """Join a published table with loaded engines.

    Args:
        table: what was published.
        engines: what could be loaded.
        failures: why the rest could not.
        before: the table that is replaced, whose endpoints stand in for those that cannot be served anew.
    """
    endpoints: dict[str, Served] = {}
    problems: dict[str, str] = {}
    for route in table.endpoints:
        served = _serve(route, table.epoch, engines, failures)
        _keep_fuse(served, before)
        scope = f"{route.project}/{route.name}"
        if served.problem:
            problems[scope] = served.problem
            stale = before.endpoints.get(scope)
            if served.champion is None and stale is not None and stale.champion is not None:
                served = replace(stale, challenger=None)
        endpoints[scope] = served
        if route.name not in endpoints or route.project == "default":
            endpoints[route.name] = served
    keys = frozenset(
        (arm.variant.digest, arm.variant.isolated)
        for served in endpoints.values()
        for arm in (served.champion, served.challenger)
        if arm is not None
    )
    return Table(table.epoch, endpoints, table.tokens, keys, table.issued_at, problems)


def _serve(route: EndpointRoute, epoch: int, engines: Mapping[Key, Engine], failures: Mapping[Key, str]) -> Served:
    arms: dict[str, Arm] = {}
    problem = ""
    for variant in answering(route):
        key = (variant.digest, variant.isolated)
        engine = engines.get(key)
        if engine is None:
            why = failures.get(key, "it is not loaded")
            problem = problem or f"{variant.model}:{variant.version} ({variant.name}) cannot answer: {why}"
        else:
            arms[variant.name] = Arm(variant, engine, _headers(variant, epoch))
    sticky = route.sticky.removeprefix("header:").lower().encode("latin-1", "ignore") if route.sticky else b""
    return Served(
        route, epoch, arms.get("champion"), arms.get("challenger"), problem, sticky, f"{route.project}/{route.name}"
    )


def _keep_fuse(served: Served, before: Table) -> None:
    """Within one epoch (a table applied again, because a model could be loaded after all) a fuse stays as it is."""
    old = before.endpoints.get(served.scope)
    if served.challenger and old and old.challenger and old.epoch == served.epoch:
        served.challenger.fuse = old.challenger.fuse


def _headers(variant: Variant, epoch: int) -> bytes:
    version = f"shipway-version: {variant.model}:{variant.version}\r\n"
    return f"{version}shipway-variant: {variant.name}\r\nshipway-epoch: {epoch}\r\n".encode("ascii", "ignore")
