"""Make the route table from endpoints and tokens, and check splits; pure."""

from collections.abc import Mapping, Sequence

from msgspec import structs

from shipway.endpoint.rows import EndpointRow
from shipway.errors import Rejected
from shipway.terms import BASIS, FORMAT, PredictToken, RouteTable, Variant

ANONYMOUS = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""sha256 of the empty secret: what callers without a token show."""


def table(
    endpoints: Sequence[EndpointRow],
    tokens: Mapping[str, PredictToken],
    *,
    epoch: int,
    ledger_head: str,
    now: float,
) -> RouteTable:
    """Describe everything that servers need to know, in an order that does not depend on the arguments'.

    Tokens are left out while every endpoint is public, so that callers need none. As soon as one is not,
    the table holds all tokens that have not expired, and the empty secret opens the public endpoints.
    """
    rows = sorted(endpoints, key=lambda e: (e.project, e.name))
    open_to_all = tuple(f"{e.project}/{e.name}" for e in rows if e.settings.public)
    needed: dict[str, PredictToken] = {}
    if len(open_to_all) < len(rows):
        needed = {
            secret: token
            for secret, token in sorted(tokens.items())
            if token.expires_at is None or token.expires_at > now
        }
        # There even where it opens nothing: an empty list of tokens would mean that callers need none.
        needed[ANONYMOUS] = PredictToken(open_to_all)
    return RouteTable(
        format=FORMAT,
        epoch=epoch,
        issued_at=now,
        ledger_head=ledger_head,
        endpoints=tuple(e.route() for e in rows),
        tokens=needed,
    )


def same_content(a: RouteTable, b: RouteTable) -> bool:
    """Say whether two tables tell servers the same, whatever their numbers and times."""
    return structs.replace(a, epoch=0, issued_at=0.0, ledger_head="") == structs.replace(
        b, epoch=0, issued_at=0.0, ledger_head=""
    )


def check_split(endpoint: str, variants: Sequence[Variant], rollout: str) -> Variant:
    """Return the champion of a split that servers can obey.

    Raises:
        Rejected: it is not one champion and at most one challenger with 10,000 basis points in all.
    """
    fix = "give one champion and at most one challenger; answers add up to 10,000 basis points, a shadow has none"
    names = [v.name for v in variants]
    if sorted(names) not in (["champion"], ["challenger", "champion"]):
        raise Rejected(f"the split of {endpoint} has the variants {', '.join(names) or 'none'}", fix=fix)
    champion = next(v for v in variants if v.name == "champion")
    if champion.mode != "answer":
        raise Rejected(f"the champion of {endpoint} would be a shadow and answer nobody", fix=fix)
    for variant in variants:
        if not 0 <= variant.weight <= BASIS or not 0 <= variant.shadow_share <= BASIS:
            raise Rejected(f"{variant.name} of {endpoint} has a share outside 0 to 10,000 basis points", fix=fix)
        if variant.mode == "shadow" and variant.weight:
            raise Rejected(f"the shadow of {endpoint} would answer {variant.weight} basis points", fix=fix)
    if (total := sum(v.weight for v in variants)) != BASIS:
        raise Rejected(f"the answers of {endpoint} add up to {total} basis points", fix=fix)
    if len(variants) > 1 and not rollout:
        raise Rejected(
            f"{endpoint} has a challenger and no rollout", fix=f"start one: `shipway rollout start {endpoint} REF`"
        )
    return champion
