"""An endpoint as it is kept: its settings, its variants, its policies."""

from typing import Annotated

from msgspec import Meta, Struct

from shipway.terms import EndpointRoute, Variant


class EndpointSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the owner of an endpoint may choose; each has a default that works."""

    sticky: Annotated[str, Meta(pattern=r"^(header:[A-Za-z0-9-]{1,64})?$")] = ""
    """`header:NAME` keeps requests with the same value of that header on one variant; "" assigns each by itself."""
    capture: bool = True
    """Record requests and answers; without it there are no monitors and no paired tests."""
    capture_required: bool = False
    """Refuse to answer rather than to answer without a record."""
    deadline_ms: Annotated[int, Meta(ge=1, le=600_000)] = 2000
    """For requests that state none."""
    max_rows: Annotated[int, Meta(ge=1)] = 10_000
    """Rows that one request may hold."""
    auto_promote: bool = False
    """Promote when the test says so, without asking."""
    auto_retrain: bool = False
    """Retrain when a signal asks, without asking."""
    webhooks: tuple[str, ...] = ()
    """URLs that are told of signals and decisions."""
    require_gate: bool = True
    """Deploy only versions with a gate verdict of pass."""
    public: bool = True
    """Callers need no token."""


class EndpointRow(Struct, frozen=True):
    """A served name and what is behind it."""

    project: str
    name: str
    model: str
    champion: int
    """Version that answers by right."""
    previous: int | None
    """The champion before, for an instant rollback."""
    variants: tuple[Variant, ...]
    """What servers are told."""
    rollout: str
    """Id of the running rollout, or ""."""
    restart: int
    settings: EndpointSettings
    policies: dict[str, str]
    """`rollout`, `monitor`, `retrain`, `gate` -> TOML text; defaults where absent."""
    revision: int
    """Grows by one at each change."""
    created_at: float

    def variant(self, named: str) -> Variant | None:
        """Return the variant of this name, or None."""
        return next((v for v in self.variants if v.name == named), None)

    def route(self) -> EndpointRoute:
        """Return what servers do with requests to it."""
        return EndpointRoute(
            project=self.project,
            name=self.name,
            variants=self.variants,
            rollout=self.rollout,
            restart=self.restart,
            sticky=self.settings.sticky,
            capture=self.settings.capture,
            capture_required=self.settings.capture_required,
            deadline_ms=self.settings.deadline_ms,
            max_rows=self.settings.max_rows,
        )
