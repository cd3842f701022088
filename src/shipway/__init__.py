"""Shipway takes a trained model to production and keeps it honest.

    from shipway import Client
    client = Client()                                     # the platform that `shipway up` started
    answer = client.predict("churn", [{"age": 41}])       # rows in, rows out, and an event id
    client.label("churn", [{"event": answer.event_id, "value": "yes"}])

Each room works alone, without a server: `shipway.pack.pack` makes a bundle from a model, `shipway.gate.run`
judges one, `shipway.monitor.compare` compares two tables, `shipway.bundle.open` runs a model.
`shipway.errors` is every failure that a caller may catch.

Names are resolved at first use (PEP 562), so that `import shipway` costs next to nothing and a process that
serves never loads what only the platform needs.
"""

import sys
from typing import Any

_CLIENT = ("Client", "Prediction", "Predictor")
_ROOMS = (
    "bundle",
    "capture",
    "client",
    "errors",
    "gate",
    "govern",
    "ledger",
    "monitor",
    "pack",
    "rollout",
    "stats",
    "terms",
)

__all__ = [*_CLIENT, *_ROOMS]  # noqa: PLE0604 - the two lists above are all there is


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: a module attribute may be anything
    if name in _CLIENT:
        from shipway import client

        return getattr(client, name)
    if name in _ROOMS:
        __import__(f"shipway.{name}")
        return sys.modules[f"shipway.{name}"]
    raise AttributeError(f"module 'shipway' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
