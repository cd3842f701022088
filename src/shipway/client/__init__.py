"""Talk to a running Shipway from Python: the same door that the command line uses.

`Client(url, token)` reaches the control plane (register, deploy, roll out, label); `Predictor(url)` reaches
a server (predict). Without arguments `Client()` uses the context that `shipway up` left in the user's
data folder, or `SHIPWAY_URL` and `SHIPWAY_TOKEN`.

A failure arrives as the class of `shipway.errors` that the server raised, with its sentence and its fix.
Only the standard library and msgspec are needed here, so that this room can be used from anywhere.
"""

from shipway.client.context import Context, context
from shipway.client.platform import Client, connect
from shipway.client.predictor import Prediction, Predictor
from shipway.client.wire import Wire

__all__ = ["Client", "Context", "Prediction", "Predictor", "Wire", "connect", "context"]
