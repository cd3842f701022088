"""Open a converted model in memory, before there is a bundle, by the same runtimes that will serve it."""

from typing import Any

from shipway.bundle.runtime import Runtime
from shipway.bundle.runtime.lightgbm import Booster, LightgbmRuntime
from shipway.bundle.runtime.onnx import OnnxRuntime, feeder
from shipway.bundle.runtime.session import session_from
from shipway.errors import Rejected
from shipway.pack.attempts import Candidate
from shipway.terms import FORMAT, Manifest, RuntimeSpec, Signature, Task


def open_candidate(candidate: Candidate, name: str, task: Task, signature: Signature) -> Runtime:
    """Open a converted model.

    Raises:
        Rejected: no runtime here opens its kind. Whatever the runtime raises on a model it cannot load, it raises.
    """
    spec = RuntimeSpec(candidate.kind, "", candidate.options)
    nothing: dict[str, Any] = {}
    manifest = Manifest(FORMAT, name, task, signature, spec, (), nothing, nothing, nothing)
    if candidate.kind == "onnx":
        session = session_from(candidate.content)
        return OnnxRuntime(manifest, "", session, feeder(candidate.options, candidate.encoding))
    if candidate.kind == "lightgbm" and candidate.encoding is not None:
        return LightgbmRuntime(manifest, "", Booster(candidate.content), candidate.encoding)
    raise Rejected(f"no runtime {candidate.kind!r} is known to pack", fix="convert to onnx or lightgbm")
