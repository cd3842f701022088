"""Columns as bytes between a worker and its runners: raw tensors, no pickle.

A frame is `<length, number, status>` and a msgpack array of [name, dtype, shape, bytes or texts].
Numbers match answers to questions; status says whether the payload is columns or a sentence.
"""

import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from shipway.errors import Broken

HEAD = struct.Struct("<IQB")
COLUMNS, SENTENCE = 0, 1
HELLO = 0
"""The number of the frame by which a runner says that it is ready, or why it is not."""

LARGEST = 1 << 30
DTYPES = frozenset({"<f8", "<f4", "<i8", "<i4", "|b1"})

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, str, tuple[int, ...], bytes | list[str | None]]]).decode


def pack(columns: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Write columns."""
    parts: list[tuple[str, str, tuple[int, ...], bytes | list[str | None]]] = []
    for name, values in columns.items():
        if values.dtype == object:
            parts.append((name, "O", values.shape, values.reshape(-1).tolist()))
        else:
            parts.append((name, values.dtype.str, values.shape, values.tobytes()))
    return _encode(parts)


def unpack(payload: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Read columns.

    Raises:
        Broken: the payload does not come from `pack`.
    """
    columns = {}
    try:
        for name, dtype, shape, cells in _decode(payload):
            if isinstance(cells, list):
                values = np.empty(len(cells), dtype=object)
                values[:] = cells
            elif dtype in DTYPES:
                values = np.frombuffer(cells, dtype)
            else:
                raise Broken(f"a runner sent a column of {dtype[:20]!r}", fix="report it, with the bundle's manifest")
            columns[name] = values.reshape(shape)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise Broken(f"a runner sent what is no columns: {exc}", fix="report it") from exc
    return columns


def frame(number: int, status: int, payload: bytes) -> bytes:
    """Put a payload into a frame."""
    return HEAD.pack(len(payload), number, status) + payload


class Frames:
    """Bytes in any pieces in, whole frames out."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Take in bytes and return the (number, status, payload) of each frame that is complete now.

        Raises:
            Broken: a frame claims to be larger than a gibibyte.
        """
        self._bytes += data
        found = []
        start = 0
        while len(self._bytes) - start >= HEAD.size:
            length, number, status = HEAD.unpack_from(self._bytes, start)
            if length > LARGEST:
                raise Broken(f"a frame of {length} bytes came over the socket of a runner", fix="report it")
            end = start + HEAD.size + length
            if len(self._bytes) < end:
                break
            found.append((number, status, bytes(self._bytes[start + HEAD.size : end])))
            start = end
        del self._bytes[:start]
        return found
