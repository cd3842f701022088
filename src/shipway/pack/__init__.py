"""Make a bundle from a trained model, without losing a digit of what it answers.

    pack(model, name="churn", data=table, target="left", out=folder, now=now) -> Packed

`pack` converts the model to a form that answers in microseconds, and believes no converter: what it made is
compared with the original on real rows and on rows at the model's own thresholds, and where no conversion
is equal nothing is packed. The bundle also holds the signature, a reference of the data, example rows, the
environment and where it all came from. `Packed.report` tells what was done, and what was refused and why.

`read_table` reads a user's file. `load_model` reads a model file; pickles only by an exact list of names.
`convert` gives the converted graph alone. `OnnxModel` packs a graph that someone else made.

Not here: whether the model is good enough (see `shipway.gate`), and running it (see `shipway.bundle`).
"""

from shipway.pack.onnxfile import OnnxModel
from shipway.pack.pickles import load_model
from shipway.pack.report import Attempt, Report
from shipway.pack.run import Converted, Packed, convert, pack
from shipway.pack.tables import read_table

__all__ = ["Attempt", "Converted", "OnnxModel", "Packed", "Report", "convert", "load_model", "pack", "read_table"]
