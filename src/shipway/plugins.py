"""Find what other packages add to Shipway: the hook list, and the only place that loads code by name.

A package adds a hook through an entry point of its own; nothing else is ever loaded by name. Rooms do not look
here: `shipway.wiring` asks once and hands what it finds to them as arguments.

    group               each entry is
    shipway.packers     a `shipway.pack.attempts.Packer`: converts a model
    shipway.runtimes    a `shipway.bundle.Loader`: opens bundles of the kind it is named after
"""

from importlib import metadata
from typing import Any

from shipway.bundle.runtime import DEFAULT, Loader
from shipway.errors import Broken

PACKERS, RUNTIMES = "shipway.packers", "shipway.runtimes"


def runtimes() -> dict[str, Loader]:
    """Return all runtimes by kind: ours, which no plug-in may replace, and those of installed packages.

    Raises:
        Broken: an installed plug-in cannot be loaded.
    """
    return _load(RUNTIMES) | dict(DEFAULT)


def packers() -> dict[str, Any]:
    """Return the converters of installed packages by name.

    Raises:
        Broken: an installed plug-in cannot be loaded.
    """
    return _load(PACKERS)


def _load(group: str) -> dict[str, Any]:
    return {entry.name: _loaded(entry) for entry in sorted(metadata.entry_points(group=group), key=lambda e: e.name)}


def _loaded(entry: metadata.EntryPoint) -> Any:  # noqa: ANN401 - whatever the plug-in is
    try:
        return entry.load()
    except Exception as exc:
        package = entry.dist.name if entry.dist is not None else "a package"
        raise Broken(
            f"the plug-in {entry.name!r} of {package} cannot be loaded: {type(exc).__name__}: {exc}",
            fix=f"repair or uninstall {package}",
        ) from exc
