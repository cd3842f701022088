"""What the first start of an installation makes: tokens for its own processes and the user's context."""

import json
import os
from pathlib import Path

from shipway import access
from shipway.errors import ShipwayError, Unavailable
from shipway.settings import Settings
from shipway.wiring.platform import Platform

PROJECT = "default"


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read, in one step."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)


def control_url(settings: Settings) -> str:
    """Where the control plane of these settings answers."""
    return f"http://{settings.control_host}:{settings.control_port}"


def server_token_file(settings: Settings) -> Path:
    """File with the token that this installation's own server and collector act with."""
    return settings.home / "server.token"


def server_token(settings: Settings) -> str:
    """Read the token of this installation's own server and collector.

    Raises:
        Unavailable: the control plane has never run here.
    """
    try:
        return server_token_file(settings).read_text().strip()
    except FileNotFoundError:
        raise Unavailable(
            f"{settings.home} has no server token, so no control plane has run here yet",
            fix="start one with `shipway up`, or give --token",
        ) from None


def _valid(platform: Platform, secret: str) -> bool:
    try:
        with platform.database.read() as tx:
            access.authenticate(tx, secret, platform.clock())
    except ShipwayError:
        return False
    return True


def _known(path: Path) -> str:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return ""
    if path.suffix == ".json":
        try:
            return str(json.loads(text).get("token", ""))
        except (ValueError, AttributeError):
            return ""
    return text.strip()


def prepare(platform: Platform) -> str:
    """Make the tokens that this installation needs and write the user's context; returns the admin token.

    Tokens that are there and still valid are kept, so that a restart changes nothing.
    """
    settings = platform.settings
    now = platform.clock()
    admin = _known(settings.context_file)
    if not admin or not _valid(platform, admin):
        with platform.database.transaction() as tx:
            admin = access.issue(tx, project=PROJECT, name="owner", role="admin", now=now, actor="shipway up")
    write_private(
        settings.context_file,
        json.dumps(
            {
                "url": control_url(settings),
                "token": admin,
                "server": f"http://{settings.server_host}:{settings.server_port}",
            }
        )
        + "\n",
    )
    own = _known(server_token_file(settings))
    if not own or not _valid(platform, own):
        with platform.database.transaction() as tx:
            own = access.issue(tx, project=PROJECT, name="own server", role="server", now=now, actor="shipway up")
        write_private(server_token_file(settings), own + "\n")
    return admin
