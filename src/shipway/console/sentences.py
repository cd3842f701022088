"""Say in one sentence how things are and what is asked of the reader. Pure: values in, words out.

Every page opens with one of these. They name versions and numbers with their units, never a bare
p-value, and promise nothing that the evidence does not carry.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shipway.console.figures import count, duration, percent, plural, start, words
from shipway.console.views import Alarm, Endpoint, Rollout, Version
from shipway.terms import BASIS


@dataclass(frozen=True)
class Says:
    """The first sentence of a page, and what follows from it."""

    title: str
    then: str = ""


@dataclass(frozen=True)
class State:
    """How an endpoint is, in a word and a shape."""

    word: str
    lamp: str


TROUBLE = {
    "performance": State("Worse", "bad"),
    "quality": State("Faulty data", "bad"),
    "drift": State("Drifted", "bad"),
    "fairness": State("Unfair", "bad"),
    "latency": State("Slow", "bad"),
    "traffic": State("Unusual traffic", "wait"),
    "silence": State("Silent", "wait"),
}
"""Kind of signal -> what it makes of an endpoint; the first that is open counts."""

_HAS = {
    "performance": "{} become worse",
    "quality": "{} been getting faulty data",
    "drift": "{} drifted",
    "fairness": "{} become unfair",
    "latency": "{} become slow",
    "traffic": "{} unusual traffic",
    "silence": "{} gone silent",
}
ENDED = {"promoted": "promoted", "rolled_back": "rolled back", "superseded": "ended by another deployment"}


def state(endpoint: Endpoint) -> State:
    """Say how an endpoint is: by its worst open alarm, else by whether it is used and watched.

    Healthy is only what was compared with its reference; what merely answers is working.
    """
    kind = _worst(endpoint.alarms)
    if kind:
        return TROUBLE[kind]
    if endpoint.traffic is None:
        return State("Waiting", "off")
    return State("Healthy", "ok") if endpoint.compared else State("Working", "soft")


def _worst(alarms: Sequence[Alarm]) -> str:
    kinds = {alarm.signal.kind for alarm in alarms if alarm.closed_at is None}
    return next((kind for kind in TROUBLE if kind in kinds), "")


def _are(names: list[str], one: str, many: str) -> str:
    return f"{start(words(names))} {one if len(names) == 1 else many}"


def home(endpoints: Sequence[Endpoint], asks: int = 0) -> Says:
    """Say how all endpoints are, and whether one of `asks` things waits for the reader."""
    if not endpoints:
        return Says(
            "Nothing is deployed yet. Deploy a trained model, or watch the demo first.",
            "Shipway is running on this machine and everything it needs is in place.",
        )
    parts = []
    for word in ("Healthy", "Working"):
        named = [e.name for e in endpoints if state(e).word == word]
        if named:
            parts.append(_are(named, f"is {word.lower()}.", f"are {word.lower()}."))
    for kind, phrase in _HAS.items():
        named = [e.name for e in endpoints if _worst(e.alarms) == kind]
        if named:
            parts.append(_are(named, phrase.format("has") + ".", phrase.format("have") + "."))
    waiting = [e.name for e in endpoints if state(e).word == "Waiting"]
    if waiting:
        parts.append(_are(waiting, "waits for its first request.", "wait for their first requests."))
    trying = _running([e for e in endpoints if e.rollout is not None and e.rollout.open])
    return Says(" ".join(parts), f"{trying} {_asks(asks)}")


def unless_silent(says: Says, silent_s: float) -> Says:
    """Say instead that no server reports, for `silent_s` seconds now; what was said held before that."""
    if not silent_s:
        return says
    return Says(f"No server has reported for {duration(silent_s)}.", f"Before that: {says.title} {says.then}")


def _asks(asks: int) -> str:
    if not asks:
        return "Nothing is asked of you."
    return f"{start(plural(asks, 'thing waits', 'things wait'))} for you below."


def _running(trying: list[Endpoint]) -> str:
    if not trying:
        return "No rollout is running."
    said = [f"{e.name}, version {e.rollout.challenger}{_on(e)}" for e in trying if e.rollout is not None]
    return f"{'One rollout is' if len(said) == 1 else f'{len(said)} rollouts are'} running: {words(said)}."


def _on(endpoint: Endpoint) -> str:
    challenger = endpoint.variant("challenger")
    if challenger is None:
        return ""
    if challenger.mode == "shadow":
        return " in shadow"
    return f" on {percent(challenger.weight / BASIS)}"


def asking(endpoint: Endpoint, now: float) -> tuple[Endpoint, str, float, list[Alarm]]:
    """Put the alarms of an endpoint that ask for someone together: it, what is wrong, since when, the alarms."""
    ringing = [alarm for alarm in endpoint.alarms if alarm.rings(now)]
    phrase = f"{start(endpoint.name)} {_HAS[_worst(ringing)].format('has')}"
    return endpoint, phrase, min(alarm.signal.since for alarm in ringing), ringing


def stage(endpoint: Endpoint) -> str:
    """Say where the version on trial is, as the beginning of a sentence."""
    return {"": "Waiting"}.get(where := _on(endpoint).strip(), start(where))


def endpoint(endpoint: Endpoint, asked: str = "", more: int | None = None, asks: int = 0) -> Says:
    """Say how one endpoint is, who answers, and what its rollout waits for.

    Args:
        endpoint: the endpoint.
        asked: what the running rollout says of itself, or "".
        more: how many more requests it needs at the rates seen so far, if that can be said.
        asks: how many alarms wait for somebody.
    """
    needs = f" and needs about {count(more)} more requests" if more is not None else ""
    name, challenger = start(endpoint.name), endpoint.variant("challenger")
    kind = _worst(endpoint.alarms)
    first = (
        f"{name} {_HAS[kind].format('has')}."
        if kind
        else f"{name} is {state(endpoint).word.lower()}."
        if endpoint.traffic is not None
        else f"{name} is ready and waits for its first request."
    )
    then = " ".join(filter(None, (_quiet(endpoint), asked or _unwatched(endpoint), _asks(asks))))
    if challenger is None:
        return Says(f"{first} Version {endpoint.champion} answers everyone.", then)
    if challenger.mode == "shadow":
        trial = (
            f"Version {endpoint.champion} answers everyone; version {challenger.version} is tried on copies of "
            "their requests."
        )
    else:
        share = challenger.weight / BASIS
        trial = (
            f"Version {endpoint.champion} answers {percent(1 - share)} of requests; version {challenger.version} is "
            f"being tried on {percent(share)}{needs}."
        )
    return Says(f"{first} {trial}", then)


def _quiet(endpoint: Endpoint) -> str:
    quiet = endpoint.traffic.quiet_s if endpoint.traffic is not None else 0.0
    return f"No request has come for {duration(quiet)}." if quiet else ""


def _unwatched(endpoint: Endpoint) -> str:
    if endpoint.traffic is None or endpoint.compared or _worst(endpoint.alarms):
        return ""
    if not endpoint.settings.capture:
        return "Capture is off, so nobody watches whether its data or its answers change."
    return f"Version {endpoint.champion} has not had enough requests yet to compare them with its reference."


def ledger(entries: int, fault: str, first_bad: int | None) -> Says:
    """Say whether the chain of decisions is intact.

    Args:
        entries: how many there are.
        fault: what verifying found, or "" where it found nothing.
        first_bad: number of the first entry that does not fit.
    """
    if fault:
        return Says(
            f"The chain is broken at entry {first_bad}: {fault}.",
            "Everything before it still holds. Compare with a copy, and find out who could write to the database.",
        )
    if not entries:
        return Says("The ledger is empty. The first decision will be its first entry.")
    return Says(
        f"The chain is intact: {plural(entries, 'entry', 'entries')}, none altered, none missing.",
        "Anyone with the database can repeat the check: shipway audit verify.",
    )


def alerts(open_ones: Sequence[Alarm], past: int, now: float) -> Says:
    """Say how many alarms are open and whether anybody looks after them."""
    ringing = sum(alarm.rings(now) for alarm in open_ones)
    cared = len(open_ones) - ringing
    if not open_ones:
        then = (
            f"{start(plural(past, 'alarm has', 'alarms have'))} come and gone."
            if past
            else "When traffic, quality or data change more than chance explains, it is said here."
        )
        return Says("No alarm is open.", then)
    said = f"{start(plural(ringing, 'alarm is', 'alarms are'))} open" if ringing else "No alarm waits for anybody"
    rest = f"; {plural(cared, 'is', 'are')} acknowledged or silent." if cared else "."
    return Says(said + rest, "Each says what changed, how sure that is, and what to do next.")


def models(versions: Sequence[Version]) -> Says:
    """Say how many models and versions there are and what they do."""
    if not versions:
        return Says("No model is registered yet.", "Pack a trained model and register it: the commands are below.")
    names = sorted({v.model for v in versions})
    serving = sum(bool(v.serves) for v in versions)
    have = f"{start(plural(len(names), 'model'))} with {plural(len(versions), 'version')}"
    used = f"{plural(serving, 'version')} {'serves' if serving == 1 else 'serve'} an endpoint now"
    return Says(f"{have}; {used}.", "A version is never changed: it is named by the digest of everything in it.")


def version(version: Version, claims: str) -> Says:
    """Say what a version is doing and what its gate said."""
    gate = {
        "pass": "passed its gate",
        "fail": "failed its gate",
        "undecided": "was not decided by its gate",
        "": "has not been through a gate",
    }[version.verdict]
    name = f"{start(version.model)} version {version.number}"
    if not version.serves:
        ready = f"; {words(list(version.ready))} can go back to it at once" if version.ready else ""
        return Says(f"{name} {gate} and serves no endpoint{ready}.", claims)
    roles = []
    for served, variant, weight in version.serves:
        if variant == "champion":
            roles.append(f"answers {served}")
        else:
            roles.append(
                f"is being tried on {served}"
                + (f" with {percent(weight / BASIS)} of traffic" if weight else " in shadow")
            )
    return Says(f"{name} {gate} and {words(roles)}.", claims)


def drift(name: str, changed: Sequence[str], columns: int, rows: int) -> Says:
    """Say whether an endpoint gets other data than its model was made for.

    Args:
        name: of the endpoint.
        changed: columns proved to have changed, most affected first.
        columns: how many are watched, at least one.
        rows: how many rows have been compared.
    """
    if not changed:
        return Says(
            f"{start(name)} gets the data its model was made for: none of {plural(columns, 'column')} has changed.",
            f"{count(rows)} rows were compared. What chance explains often enough is not called a change.",
        )
    return Says(
        f"{start(name)} gets different data: {words(list(changed))} changed.",
        f"{plural(len(changed), 'column')} of {columns}, by {count(rows)} rows. A change in the data is not yet a "
        "worse answer; quality is watched separately.",
    )


def no_drift(endpoint: Endpoint) -> Says:
    """Say that the champion of an endpoint has not been compared, and what will change that."""
    if not endpoint.settings.capture:
        return Says(
            f"{start(endpoint.name)} is not watched: its capture is off.",
            "No row is kept, so there is none to compare.",
        )
    return Says(
        f"Version {endpoint.champion} of {endpoint.name} has not been compared with its reference yet.",
        f"The first comparison needs {plural(endpoint.watch.min_rows, 'row')} that it has answered as champion.",
    )


def ended(rollout: Rollout) -> str:
    """Say how a rollout ended, or "" while it runs."""
    return ENDED.get(rollout.state, "")
