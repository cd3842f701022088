"""Notice what has stopped or gets lost: no requests, captures, labels or heartbeat, dropped captures, stray labels.

Pure, as `shipway.monitor.decide` is. Silence is certain, not probable, so it needs no bar; it only counts
where there was something to hear before.
"""

from msgspec import Struct, structs

from shipway.monitor.changes import moment
from shipway.monitor.decide import Finding, Opened, status_of
from shipway.monitor.policy import Policy, seconds


class Facts(Struct, frozen=True):
    """What was first and last heard of one endpoint, in Unix seconds; None for never."""

    name: str
    captured_first: float | None = None
    captured_last: float | None = None
    answered_first: float | None = None
    answered_last: float | None = None
    """Newest answer that a server counted; counts come another way than captures."""
    labelled_last: float | None = None
    unknown_labels: int = 0
    """Labels that came lately for events that were never captured."""
    is_captured: bool = True
    """Whether the endpoint wants captures at all."""
    servers: dict[str, float] = {}
    """Server -> its last heartbeat."""
    dropped: dict[str, int] = {}
    """Server -> captures it had to drop."""
    listening_since: float = 0.0
    """When the control plane started: who was silent before that may have been speaking to nobody."""


def silent(facts: Facts, policy: Policy, now: float, opened: Opened | None) -> Finding | None:
    """Say what was heard of before and is not heard of now; None where there is no news.

    All silences of one endpoint are one finding, whose sentence names each of them.
    """
    if opened is not None:
        facts = structs.replace(facts, listening_since=0.0)  # a restart does not end a silence that was told
    quiet = [*_pipeline(facts, policy, now), *_servers(facts, policy, now)]
    if not quiet:
        if opened is None:
            return None
        return Finding("silence", "closed", opened.since, f"{facts.name} is heard of as before", 0.0, 0.0)
    what = tuple(name for name, _, _ in quiet)
    since = opened.since if opened else min(at for _, at, _ in quiet)
    said = "; ".join(words for _, _, words in quiet)
    status = status_of(opened, what)
    return Finding("silence", status, since, f"{facts.name}: {said}", 0.0, 0.0, details={"silent": list(what)})


def _pipeline(facts: Facts, policy: Policy, now: float) -> list[tuple[str, float, str]]:
    rule = policy.silence
    firsts = [at for at in (facts.captured_first, facts.answered_first) if at is not None]
    lasts = [at for at in (facts.captured_last, facts.answered_last) if at is not None]
    if not firsts or not lasts:
        return []
    first, last = min(firsts), max(lasts)
    quiet = []
    patience = seconds(rule.no_traffic_after)
    if now - max(last, facts.listening_since) > patience and last - first >= patience:
        quiet.append(("traffic", last, f"no request since {moment(last)}"))
    if facts.is_captured and facts.answered_last is not None and facts.answered_first is not None:
        heard = facts.captured_last or facts.answered_first
        if facts.answered_last - heard > seconds(rule.no_captures_after):
            quiet.append(("captures", heard, f"requests are answered, but no capture arrived since {moment(heard)}"))
    if facts.labelled_last is not None and last - facts.labelled_last > seconds(rule.no_labels_after):
        at = facts.labelled_last
        quiet.append(("labels", at, f"requests are answered, but no label arrived since {moment(at)}"))
    if facts.unknown_labels:
        said = f"{facts.unknown_labels:,} labels came for events that were never captured here"
        quiet.append(("events of labels", now, said))
    return quiet


def _servers(facts: Facts, policy: Policy, now: float) -> list[tuple[str, float, str]]:
    patience = seconds(policy.silence.no_heartbeat_after)
    lost = [
        (f"server {server}", at, f"server {server} does not report since {moment(at)}")
        for server, at in sorted(facts.servers.items())
        if now - max(at, facts.listening_since) > patience
    ]
    dropped = [
        (f"captures of {server}", now, f"server {server} had to drop {n:,} captures")
        for server, n in sorted(facts.dropped.items())
        if n
    ]
    return lost + dropped
