"""Write down every request where it was answered, so that a kill loses nothing and a full disk stops nothing.

A worker makes one `Spool` and one `Recorder` on it, frames each answer with `Recorder.add` and calls
`Recorder.flush` once per loop tick, before the answers of that tick leave. Whatever `flush` returned True
for survives `kill -9`. Segments are sealed by size and age; the collector of `shipway.lake` takes them from
there. `Tail` follows the same segments for the shadow process. `CountsFile` holds the counts that rollouts
need within a second, in memory that outlives the worker.

    ids = Ids(os.urandom, time.time_ns)
    spool = Spool(folder, incarnation, segment_bytes=8 << 20, seal_after_s=5.0)
    recorder = Recorder(spool)
    prepared = prepare(Context(...))              # once per route and variant
    recorder.add(prepared, event=ids.new(), ...)  # per request
    recorder.flush()                              # per loop tick
    spool.tick(now)                               # about once a second

Only the standard library, msgspec and numpy are imported here: this runs inside workers.
"""

from typing import Any

_HOMES = {
    "CaptureRecord": "record",
    "Context": "record",
    "CountsFile": "counts",
    "Ids": "ids",
    "Recorder": "recorder",
    "Spool": "spool",
    "Tail": "tail",
    "frame": "record",
    "id_time": "ids",
    "prepare": "record",
    "read_counts": "counts",
    "read_segment": "segment",
    "recover": "spool",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: any public name of the room
    """Import the module that defines `name` when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__name__}.{_HOMES[name]}", fromlist=[name])
    return getattr(module, name)


def __dir__() -> list[str]:
    """Name what may be imported from here."""
    return sorted(_HOMES)
