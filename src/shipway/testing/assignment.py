"""Vectors for the hash that gives units to variants, to hold another implementation against.

place = blake2b(unit, digest_size=8, key=salt), read as a little-endian number, mod 10,000
salt  = "<rollout>|assign|<restart>" in UTF-8; its blake2b digest of 64 bytes if it is longer than 64

The challenger with weight w (basis points) answers the places 0 to w - 1.
"""

from typing import NamedTuple


class Vector(NamedTuple):
    """One unit in one test, and its place."""

    unit: bytes
    rollout: str
    restart: int
    place: int


VECTORS = (
    Vector(b"", "r-7", 0, 3491),
    Vector(b"0", "r-7", 0, 7176),
    Vector(b"customer-1", "r-7", 0, 8694),
    Vector(b"customer-1", "r-7", 1, 6427),
    Vector(b"customer-1", "r-8", 0, 2718),
    Vector(b"customer-2", "r-7", 0, 3174),
    Vector("köln".encode(), "r-7", 0, 8191),
    Vector(b"018f3b2c-7d1e-7c3a-9b4d-5e6f70819203", "r-7", 0, 7357),
    Vector(bytes.fromhex("018f3b2c7d1e7c3a9b4d5e6f70819203"), "r-7", 0, 3861),
    Vector(b"customer-1", "x" * 64, 0, 5710),
)
