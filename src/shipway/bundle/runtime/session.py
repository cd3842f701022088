"""The only importer of ONNX Runtime, which must first be told to keep quiet.

From 1.29 on its official builds send usage events to their maker, write a device identifier into the user's
cache folder, and decide on both while they are being imported. Shipway has no telemetry, so the switch is
set here, before the import, whatever the environment said.

Source:
    ONNX Runtime, `Privacy.md`, "Disabling Telemetry".
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # noqa: TID251 - a switch for a library, not a setting of ours

import onnxruntime

VERSION: str = onnxruntime.__version__


def session_from(model: str | bytes) -> onnxruntime.InferenceSession:
    """Load a graph, from a path or from bytes, with one thread and nothing printed."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
