"""Find in an ONNX file what must not be there, without the onnx library and without running it.

A graph may name files beside it that hold its tensors ("external data"). Bundles hold none: pack puts
all tensors into the graph, and a graph that names another file is refused, wherever that file lies.
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Message -> {field number: message inside it}, from onnx.proto. A tensor's fields 13 and 14 are
# external_data and data_location.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_DEPTH = 64


def names_other_files(model: bytes) -> bool:
    """Say whether any tensor of the graph keeps its data in another file.

    Raises:
        ValueError: these bytes are not an ONNX model.
    """
    # The entry that names the file is keyed "location"; without that word there is none, and the
    # search costs nothing, while the walk costs a microsecond for every integer in a forest.
    return b"location" in model and _walk(memoryview(model), "model", 0)


def _walk(data: memoryview, message: str, depth: int) -> bool:
    if depth > _DEPTH:
        raise ValueError("nested too deeply")
    if message == "tensor":
        return any(number == 13 or (number == 14 and value == 1) for number, value in _fields(data))
    inside = _INSIDE[message]
    return any(
        isinstance(value, memoryview) and _walk(value, inside[number], depth + 1)
        for number, value in _fields(data)
        if number in inside
    )


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} is not used by ONNX")
        if at + size > len(data):
            raise ValueError("it ends in the middle of a field")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("it ends in the middle of a number")
