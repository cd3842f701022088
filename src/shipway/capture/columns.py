"""Turn columns of a request into bytes and back, without JSON.

Columns of fixed width come first, in signature order, one little-endian array after the other; text
columns follow, each as the lengths of its cells (u32, all ones for a missing cell) and their UTF-8. The
names, datatypes and shapes are in the context frame of the segment, so a row of 30 numbers takes 240 bytes
and many records of one context can be viewed as one structured array.
"""

from collections.abc import Mapping, Sequence
from math import prod
from struct import pack
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shipway.terms import Column

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""V2 datatype of fixed width -> numpy dtype on disk and in process."""

MISSING = 0xFFFF_FFFF
_LENGTH = np.dtype("<u4")

Columns = Mapping[str, NDArray[Any]]


class Layout(NamedTuple):
    """How the columns of one side (inputs or outputs) of one context lie in a record."""

    fixed: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]
    texts: tuple[tuple[str, tuple[int, ...]], ...]
    row_bytes: int
    """Bytes that the columns of fixed width take per row."""

    def dtype(self, rows: int) -> np.dtype[Any]:
        """Return the structured dtype of the fixed part of a record that holds `rows` rows."""
        return np.dtype([(f"f{i}", dtype, (rows, *shape)) for i, (_, dtype, shape) in enumerate(self.fixed)])


def layout(columns: Sequence[Column]) -> Layout:
    """Lay the columns out: fixed width first, text behind."""
    fixed = tuple((c.name, DTYPES[c.datatype], c.shape) for c in columns if c.datatype != "BYTES")
    texts = tuple((c.name, c.shape) for c in columns if c.datatype == "BYTES")
    return Layout(fixed, texts, sum(dtype.itemsize * prod(shape) for _, dtype, shape in fixed))


def encode(form: Layout, columns: Columns) -> bytes:
    """Return the columns as bytes; all must have the same number of rows and the shapes of the layout."""
    parts = [
        c.tobytes() if (c := columns[name]).dtype is dtype else c.astype(dtype).tobytes()
        for name, dtype, _ in form.fixed
    ]
    for name, _ in form.texts:
        parts += _encode_text(columns[name])
    return b"".join(parts)


def _encode_text(column: NDArray[Any]) -> list[bytes]:
    found = column.ravel().tolist()
    if len(found) == 1:  # most requests; their texts are few, and come again and again
        cell = found[0]
        known = _KNOWN.get(cell)
        return [known if known is not None else _encode_cell(cell)]
    try:
        text = "".join(found)
    except TypeError:  # a missing cell
        text = "\N{SNOWMAN}"
    if text.isascii():  # then a cell has as many bytes as characters
        return [pack(f"<{len(found)}I", *map(len, found)), text.encode()]
    cells = [None if cell is None else str(cell).encode("utf-8", "replace") for cell in found]
    return [
        pack(f"<{len(cells)}I", *[MISSING if cell is None else len(cell) for cell in cells]),
        *(cell for cell in cells if cell),
    ]


_KNOWN: dict[str | None, bytes] = {}
"""Cells that came before -> what one row of them is written as."""


def _encode_cell(cell: Any) -> bytes:  # noqa: ANN401 - a text, or None
    if cell is None:
        written = pack("<I", MISSING)
    else:
        text = str(cell).encode("utf-8", "replace")
        written = pack("<I", len(text)) + text
    if len(written) <= 64 and (cell is None or type(cell) is str):
        if len(_KNOWN) >= 4096:
            _KNOWN.clear()
        _KNOWN[cell] = written
    return written


def decode(form: Layout, rows: int, data: memoryview) -> dict[str, NDArray[Any]]:
    """Return the columns of one record of `rows` rows, in the order fixed, then text."""
    columns: dict[str, NDArray[Any]] = {}
    at = 0
    for name, dtype, shape in form.fixed:
        size = rows * dtype.itemsize * prod(shape)
        columns[name] = np.frombuffer(data[at : at + size], dtype).reshape(rows, *shape)
        at += size
    for (name, shape), cells in zip(form.texts, decode_texts(form, rows, data), strict=True):
        column = np.empty(len(cells), dtype=object)
        column[:] = cells
        columns[name] = column.reshape(rows, *shape)
    return columns


def decode_texts(form: Layout, rows: int, data: memoryview) -> list[list[str | None]]:
    """Return the cells of each text column of one record, row by row."""
    at = rows * form.row_bytes
    found: list[list[str | None]] = []
    for _, shape in form.texts:
        count = rows * prod(shape)
        lengths = np.frombuffer(data[at : at + 4 * count], _LENGTH).tolist()
        at += 4 * count
        cells: list[str | None] = []
        for length in lengths:
            if length == MISSING:
                cells.append(None)
            else:
                cells.append(str(data[at : at + length], "utf-8"))
                at += length
        found.append(cells)
    return found
