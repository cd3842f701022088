"""What pages show, as plain values: made by `read`, put into words by `sentences`."""

from dataclasses import dataclass, field
from typing import Any

from shipway.console.traffic import Traffic
from shipway.endpoint import EndpointSettings
from shipway.monitor.policy import Policy
from shipway.retrain.jobs import Job
from shipway.rollout.decide import Decision
from shipway.terms import Manifest, Signal, Variant


@dataclass(frozen=True)
class Frame:
    """What stands around every page."""

    who: str
    project: str
    alarms: int
    """Open alarms that nobody has acknowledged."""
    release: str
    place: str


@dataclass(frozen=True)
class Alarm:
    """A signal and what people did about it."""

    signal: Signal
    acknowledged_at: float | None
    acknowledged_by: str
    muted_until: float | None
    closed_at: float | None

    def rings(self, now: float) -> bool:
        """Whether it is open and asks for someone."""
        muted = self.muted_until is not None and self.muted_until > now
        return self.closed_at is None and self.acknowledged_at is None and not muted


@dataclass(frozen=True)
class Rollout:
    """A rollout as its row says, and how its newest decision and its past look."""

    id: str
    endpoint: str
    model: str
    champion: int
    challenger: int
    state: str
    step: int
    restart: int
    started_at: float
    step_started_at: float
    ended_at: float | None
    policy: str
    policy_digest: str
    latest: Decision | None
    """The newest decision, None before the first."""
    history: list[dict[str, Any]]

    @property
    def open(self) -> bool:
        """Whether it still may move traffic."""
        return self.ended_at is None


@dataclass(frozen=True)
class Endpoint:
    """An endpoint with everything that home and its own page say about it."""

    name: str
    model: str
    champion: int
    previous: int | None
    variants: tuple[Variant, ...]
    settings: EndpointSettings
    manifest: Manifest
    """Of the champion."""
    created_at: float
    rollout: Rollout | None
    alarms: tuple[Alarm, ...]
    traffic: Traffic | None
    jobs: tuple[Job, ...] = ()
    """Trainings, newest first."""
    trains: bool = False
    """Whether its policy says how to train."""
    monitor: dict[str, Any] = field(default_factory=dict)
    """The summary that the monitor wrote for pages about its champion, {} before its first window."""
    watch: Policy = field(default_factory=Policy)
    """How it is watched, and who hears of alarms."""

    @property
    def compared(self) -> bool:
        """Whether rows that its champion has answered were compared with the champion's reference."""
        return int(self.monitor.get("windows", 0)) > 0

    def variant(self, named: str) -> Variant | None:
        """The variant of this name, or None."""
        return next((v for v in self.variants if v.name == named), None)


@dataclass(frozen=True)
class Version:
    """A version in the registry."""

    model: str
    number: int
    digest: str
    manifest: Manifest
    created_at: float
    created_by: str
    verdict: str
    """Of the newest gate evidence, or ""."""
    judged_at: float | None
    metrics: dict[str, Any]
    """Measured by the newest gate, else given when packing."""
    aliases: tuple[str, ...]
    serves: tuple[tuple[str, str, int], ...]
    """(endpoint, variant, weight in basis points)."""
    ready: tuple[str, ...] = ()
    """Endpoints that keep it loaded for an instant rollback."""
    trained_by: Job | None = None
    """The training of this platform that made it, None if it was brought from outside."""
