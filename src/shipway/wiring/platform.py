"""Put the platform together: the one place that names the backends and the clock.

`open_platform` gives every process of the control plane the same five things. The lake is opened at
its first use, because its libraries take seconds to import and most commands never touch it.

Not here: the data plane (see `shipway.wiring.server`), which must stay small.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from shipway.bundle import BundleStore
from shipway.database import Database
from shipway.lake import Lake
from shipway.settings import Settings


def clock() -> float:
    """Return the time now in Unix seconds: the only reading of the wall clock outside the data plane."""
    return time.time()  # noqa: TID251 - wiring owns the clock


@dataclass
class _LazyLake:
    settings: Settings
    lock: Lock = field(default_factory=Lock)
    opened: Lake | None = None

    def get(self) -> Lake:
        with self.lock:
            if self.opened is None:
                self.settings.lake.mkdir(parents=True, exist_ok=True)
                self.opened = Lake.open(self.settings.catalog_url, self.settings.lake)
            return self.opened


@dataclass(frozen=True)
class Platform:
    """What routes, pages and the clockwork work with."""

    settings: Settings
    database: Database
    bundles: BundleStore
    clock: Callable[[], float]
    lazy_lake: _LazyLake

    @property
    def lake(self) -> Lake:
        """The lake, opened when first asked for."""
        return self.lazy_lake.get()

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def open_platform(settings: Settings) -> Platform:
    """Open database (migrated), bundle store and lake of this installation, making its folders where they are missing.

    Raises:
        Unavailable: the home folder cannot be written or the database cannot be opened.
    """
    for folder in (settings.bundles, settings.incoming, settings.routes, settings.logs, settings.servers):
        folder.mkdir(parents=True, exist_ok=True)
    database = Database.open(settings.metadata_url)
    database.migrate()
    return Platform(settings, database, BundleStore(settings.bundles), clock, _LazyLake(settings))
