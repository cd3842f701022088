"""A client that waits: what the story speaks to the platform with, so that a killed control plane only costs time.

Every call of the story may be repeated: registering a bundle, judging and deploying a version, moving to a
setting are the same the second time. Only starting a rollout is not, and is looked up before it is repeated.
"""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from shipway.client import Client
from shipway.errors import Conflict, Unavailable

PATIENCE_S = 20.0


class PatientClient:
    """A `Client` whose methods are tried again while the control plane is away, for up to 20 seconds."""

    def __init__(self, client: Client, *, patience_s: float = PATIENCE_S) -> None:
        self._client = client
        self._patience_s = patience_s

    def __getattr__(self, method: str) -> Callable[..., Any]:
        """Give a method of the client, made patient."""
        call = getattr(self._client, method)

        def patiently(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the method takes and gives
            until = monotonic() + self._patience_s
            while True:
                try:
                    return call(*arguments, **options)
                except Unavailable:
                    if monotonic() > until:
                        raise
                    sleep(0.2)

        return patiently

    def start_rollout(self, endpoint: str, ref: str) -> str:
        """Start a rollout, or find the one that an unanswered first try has started."""
        try:
            return str(self.__getattr__("start_rollout")(endpoint, ref))
        except Conflict:
            challenger = int(ref.rpartition(":")[2])
            for rollout in self.rollouts(endpoint):
                if rollout["challenger"] == challenger:
                    return str(rollout["id"])
            raise
