"""Make a bundle from a trained model, without losing a digit of what it answers.

    pack(model, name="churn", data=table, target="left", out=folder, now=now) -> Packed

`pack` converts the model to a form that answers in microseconds, and believes no converter: what it made is
compared with the original on real rows and on rows at the model's own thresholds, and where no conversion
is equal nothing is packed. The bundle also holds the signature, a reference of the data, example rows, the
environment and where it all came from. `Packed.report` tells what was done, and what was refused and why.

`read_table` reads a user's file. `load_model` reads a model file; pickles only by an exact list of names.
`convert` gives the converted graph alone. `OnnxModel` packs a graph that someone else made.

Each name is imported when it is first asked for (PEP 562), because reading a table needs no converter.

Not here: whether the model is good enough (see `shipway.gate`), and running it (see `shipway.bundle`).
"""

from typing import Any

_HOMES = {
    "Attempt": "report",
    "Converted": "run",
    "OnnxModel": "onnxfile",
    "Packed": "run",
    "Report": "report",
    "convert": "run",
    "load_model": "pickles",
    "pack": "run",
    "read_table": "tables",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: any public name of the room
    """Import the module that defines `name` when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__name__}.{_HOMES[name]}", fromlist=[name])
    return getattr(module, name)


def __dir__() -> list[str]:
    """Name what may be imported from here."""
    return sorted(_HOMES)
