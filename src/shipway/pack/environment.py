"""Record the environment of a model: interpreter, platform, and the packages that the model needs.

Which packages those are is read from the model itself: its pickle names every class it is made of, and the
names are read without executing it. Those packages and what they require are listed with version and
the sha256 of their sorted RECORD lines, which answers "is this the same environment?" offline, in a moment. A converted
bundle needs none of them to serve; they are provenance.
"""

import hashlib
import io
import pickle
import pickletools
import platform
import re
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

SERVING = ("numpy", "onnxruntime")
_CONVERTERS = {"shipway": ("onnx",), "skl2onnx": ("skl2onnx", "onnx"), "lightgbm": ("lightgbm",)}


def environment(model: Any, converter: str) -> dict[str, Any]:  # noqa: ANN401 - any model, or None for a foreign graph
    """Describe what the model was trained and converted with.

    Args:
        model: the original, or None where only a graph is known.
        converter: name of the converter; its first word names its package.
    """
    wanted = set(SERVING) | set(_CONVERTERS.get(converter.split(",", maxsplit=1)[0], ()))
    if model is not None:
        wanted |= _distributions_of(modules_of(model))
    packages = [found for name in sorted(_closure(wanted)) if (found := _package(name)) is not None]
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": sysconfig.get_platform(),
        "packages": packages,
    }


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def modules_of(model: Any) -> set[str]:  # noqa: ANN401 - any model
    """Return the top modules that a model's pickle names; nothing is loaded."""
    stream = io.BytesIO()
    try:
        pickle.Pickler(stream, protocol=4).dump(model)
    except Exception:  # noqa: BLE001 - a model that cannot be pickled still has a class
        return {type(model).__module__.split(".")[0]}
    named: set[str] = set()
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(stream.getvalue()):
        if opcode.name == "GLOBAL":
            named.add(str(argument).split(" ")[0])
        elif isinstance(argument, str):
            texts.append(argument)
    # STACK_GLOBAL takes its module from the stack; any text that names a loaded module is near enough.
    named |= {text for text in texts if text in sys.modules}
    return {name.split(".")[0] for name in named}


def _distributions_of(modules: Iterable[str]) -> set[str]:
    known = _by_module()
    return {_canonical(name) for module in modules for name in known.get(module, ())}


@cache
def _by_module() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


@cache
def _installed() -> dict[str, metadata.Distribution]:
    return {_canonical(d.metadata["Name"]): d for d in metadata.distributions() if d.metadata["Name"]}


def _closure(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = [_canonical(name) for name in names]
    while waiting:
        name = waiting.pop()
        distribution = _installed().get(name)
        if name in found or distribution is None:
            continue
        found.add(name)
        waiting += [_canonical(r) for r in _required(distribution)]
    return found


def _required(distribution: metadata.Distribution) -> list[str]:
    required = []
    for line in distribution.requires or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            required.append(requirement.name)
    return required


@cache
def _package(name: str) -> dict[str, str] | None:
    distribution = _installed().get(name)
    if distribution is None:
        return None
    described = {"name": name, "version": distribution.version}
    record = distribution.read_text("RECORD")
    if record:
        lines = sorted(line for line in record.splitlines() if "__pycache__" not in line and ".dist-info/" not in line)
        described["record_sha256"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    direct = distribution.read_text("direct_url.json")
    if direct is not None:
        described["unpinned"] = "installed from a folder, a file or a repository"
    return described


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
