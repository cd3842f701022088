"""Give a unit to a variant: one hash, and ranges that only ever grow from their end.

`bucket` hashes a unit with the salt of its rollout to one of 10,000 places. The challenger owns the places
from 0 up to its weight, so raising the weight moves units to the challenger and never one away from it. The
salt holds the rollout and the restart and nothing that changes within one test, least of all the epoch.

Imported by workers: the standard library and `terms`, nothing else. Test vectors: `shipway.testing.assignment`.
"""

from functools import lru_cache
from hashlib import blake2b

from shipway.errors import Broken
from shipway.terms import BASIS, EndpointRoute, Variant


@lru_cache(maxsize=4096)
def salt(rollout: str, restart: int) -> bytes:
    """Return the key of the hash for one test: `<rollout>|assign|<restart>`, itself hashed if over 64 bytes."""
    key = f"{rollout}|assign|{restart}".encode()
    return key if len(key) <= blake2b.MAX_KEY_SIZE else blake2b(key).digest()


def bucket(unit: bytes, rollout: str, restart: int) -> int:
    """Return the place of a unit in one test, 0 to 9,999.

    Args:
        unit: what is randomised: the event id, or the sticky key in UTF-8.
        rollout: id of the rollout.
        restart: of the rollout.

    >>> bucket(b"customer-1", "r1", 0)
    7663
    """
    return int.from_bytes(blake2b(unit, digest_size=8, key=salt(rollout, restart)).digest(), "little") % BASIS


def choose(route: EndpointRoute, unit: bytes) -> tuple[Variant, int]:
    """Return the variant that should answer a unit, and the challenger's probability in basis points.

    Raises:
        Broken: the route has no champion.
    """
    champion = challenger = None
    for variant in route.variants:
        if variant.mode != "answer":
            continue
        if variant.name == "challenger":
            challenger = variant
        else:
            champion = variant
    if champion is None:
        raise Broken(
            f"the route of {route.project}/{route.name} has no champion",
            fix=f"deploy a version to it: `shipway deploy REF --endpoint {route.name}`",
        )
    if challenger is None or challenger.weight == 0:
        return champion, 0
    if bucket(unit, route.rollout, route.restart) < challenger.weight:
        return challenger, challenger.weight
    return champion, challenger.weight
