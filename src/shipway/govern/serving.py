"""What a card says about a version at work: where it runs now, and what its monitor has seen."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shipway.govern.claims import Claim
from shipway.govern.wording import listed, number


class Place(msgspec.Struct, frozen=True):
    """Where a version runs: an endpoint, and its part there."""

    endpoint: str
    part: str
    """champion, challenger, shadow, or before: loaded, so that a rollback is instant."""
    share: float = 0.0
    """Of requests that it answers."""
    capture: bool = True


PARTS = {
    "champion": "It answers {share} of requests to endpoint {endpoint}.",
    "challenger": "It is on trial at endpoint {endpoint} and answers {share} of requests.",
    "shadow": "It is on trial at endpoint {endpoint}, on copies of requests; no caller sees its answers.",
    "before": "Endpoint {endpoint} keeps it loaded, so that a rollback to it is instant; it answers nobody.",
}


def running(places: Sequence[Place] | None) -> list[Claim]:
    """Say where a version runs; nothing where that is not known."""
    if places is None:
        return []
    if not places:
        return [Claim("measured", "It serves no endpoint.", "route table")]
    return [
        Claim(
            "measured",
            PARTS[p.part].format(endpoint=p.endpoint, share=f"{number(100 * p.share)} %"),
            f"endpoint {p.endpoint}",
        )
        for p in places
    ]


def _unwatched(places: Sequence[Place] | None) -> Claim:
    answering = [p for p in places or () if p.part == "champion"]
    if places is None or not answering:
        gap = "It is not watched: no captured traffic has been compared with its reference."
        return Claim("absent", gap, "a champion with capture on is compared")
    if not any(p.capture for p in answering):
        gap = f"It is not watched: the capture of {answering[0].endpoint} is off, so no row is kept to compare."
        return Claim("absent", gap, "switch capture on in the endpoint's settings")
    gap = "Its live traffic has not been compared with its reference yet: no window of it had rows enough."
    return Claim("absent", gap, "more requests; the monitor's policy says how many rows a window needs")


def monitoring(monitor: Mapping[str, Any] | None, places: Sequence[Place] | None) -> list[Claim]:
    """Say what the monitor has seen of a version, or why it has seen nothing."""
    if not monitor:
        return [_unwatched(places)]
    until = monitor.get("window_end")
    compared = monitor.get("windows", 1) > 0
    answers = places is None or any(p.part == "champion" for p in places)
    when = "" if answers else "When it was last the champion: "
    seen = Claim("measured", f"{when}{monitor.get('sentence', '').strip()}.", "monitor", at=until)
    claims = [seen if compared else _unwatched(places)]
    changed = [c for found in monitor.get("open", {}).values() for c in found.get("columns", ())]
    if changed:
        names = listed([str(name) for name in dict.fromkeys(changed)], 30)
        claims.append(Claim("measured", f"Columns that have changed: {names}.", "monitor", at=until))
    shown = monitor.get("performance")
    if shown:
        said = str(shown.get("sentence", ""))
        claims.append(Claim("measured", f"On live traffic {said}.", "monitor, from labels", at=until))
    else:
        gap = "How good it is on live traffic is not known: too few labels have arrived."
        claims.append(Claim("absent", gap, "send labels with shipway label"))
    return claims
