"""The published route table on disk."""

import logging
from pathlib import Path

import msgspec

from shipway.terms import RouteTable

logger = logging.getLogger("shipway.serve.routefile")


class RouteFile:
    """The published table, read again only when the file was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> RouteTable | None:
        """Return the table if it is another than last time, else None."""
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                return None
            table = msgspec.json.decode(self._path.read_bytes(), type=RouteTable)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
            logger.warning("the route table at %s cannot be read and is not applied: %s", self._path, exc)
            return None
        self._seen = seen
        return table


def has_shadows(table: RouteTable) -> bool:
    """Return whether any variant of a table is a shadow."""
    return any(v.mode == "shadow" and v.shadow_share > 0 for route in table.endpoints for v in route.variants)
