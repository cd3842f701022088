"""Where the control plane is and by which token to speak with it.

`shipway up` writes `context.json` (mode 0600) into the user's data folder; `SHIPWAY_URL` and
`SHIPWAY_TOKEN` (settings `url` and `token`) win over it, and `--url` and `--token` win over both.
"""

from pathlib import Path

import msgspec

from shipway import settings as settings_file
from shipway.errors import Broken
from shipway.settings import Settings


class Context(msgspec.Struct, frozen=True, omit_defaults=True):
    """Control plane, token and server of one installation."""

    url: str
    token: str = ""
    server: str = ""
    """URL of the server that answers predictions; "" where only the control plane knows."""


def context(settings: Settings) -> Context:
    """Find out whom to talk to: settings first, then the context file, then the default ports.

    Raises:
        Broken: the context file is there and cannot be read.
    """
    found = Context("")
    try:
        found = msgspec.json.decode(settings.context_file.read_bytes(), type=Context)
    except FileNotFoundError:
        pass
    except (OSError, msgspec.DecodeError) as exc:
        raise Broken(
            f"the context file {settings.context_file} cannot be read: {exc}",
            fix="delete it and run `shipway up` again, or pass --url and --token",
        ) from exc
    url = settings.url or found.url or f"http://{_reachable(settings.control_host)}:{settings.control_port}"
    # A token belongs to the place it was made for: a URL from elsewhere does not get the one on file.
    token = settings.token or (found.token if url == found.url else "")
    return Context(url, token, found.server if url == found.url else "")


def installed(**overrides: object) -> Settings:
    """Load the settings that hold here: environment, the settings file, and what is passed."""
    env = settings_file.environment()
    return settings_file.load(env, settings_file.discover(env, Path.cwd()), **overrides)


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - the address to listen on is not one to connect to
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
