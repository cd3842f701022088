"""The `card`, `audit` and `token` commands."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from shipway.cli.frame import PLATFORM, Answer, Session, command, group, table
from shipway.cli.subject import find_version, is_folder
from shipway.errors import Rejected

app = group("Read the records.")
audit_app = group("Check the ledger.")
token_app = group("Make, list and revoke API tokens.")

_ROLES = ("admin", "predict", "server")
_UNITS = {"h": 3600, "d": 86_400, "w": 604_800}


@command(app, "card", options=PLATFORM)
def card(
    session: Session,
    *,
    bundle: Annotated[str, typer.Argument(metavar="REF|FOLDER", help="Version, or bundle folder.")],
    html: Annotated[bool, typer.Option("--html", help="Write a page instead of Markdown.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="File to write; standard output without.", show_default=False)
    ] = None,
) -> Answer:
    """Print the card of a version: each claim measured, attested or absent."""
    form = "html" if html else "markdown"
    said = _card_of_folder(Path(bundle), form) if is_folder(bundle) else _card_of_version(session, bundle, form)
    if out is not None:
        out.write_text(said, "utf-8")
        return Answer({"file": out, "form": form}, f"wrote {out}")
    return Answer({"card": said, "form": form}, said.rstrip("\n"))


def _card_of_version(session: Session, reference: str, form: str) -> str:
    row = find_version(session, reference)
    return session.client.card(row["model"], row["version"], form=form)


def _card_of_folder(folder: Path, form: str) -> str:
    from shipway import bundle, govern

    read = bundle.read(folder)
    made = govern.card(read.manifest, read.digest)
    return made.to_html() if form == "html" else made.to_markdown()


@command(audit_app, "verify", options=PLATFORM)
def audit_verify(
    session: Session,
    *,
    head: Annotated[
        str | None, typer.Option(help="Head noted earlier, which the chain must still hold.", show_default=False)
    ] = None,
) -> Answer:
    """Check the whole ledger and recompute every decision: 0 if all of it holds, 1 if not."""
    value = session.client.verify_ledger(head=head)
    decisions: dict[str, Any] = value["recomputed"]
    holds = value["ok"] and decisions["ok"]
    return Answer(
        {**value, "holds": holds},
        f"{value['sentence']}\n{decisions.get('sentence', '')}\nhead {value['head']}",
        0 if holds else 1,
    )


@command(token_app, "create", options=PLATFORM)
def token_create(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    role: Annotated[
        str, typer.Option(help="admin: everything; predict: call endpoints, send labels; server: routes and counts.")
    ] = "predict",
    endpoint: Annotated[
        list[str] | None, typer.Option(help="Endpoint that a predict token may call; all without.", show_default=False)
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="When it ends, e.g. 12h, 90d or 8w; never without.", show_default=False),
    ] = None,
) -> Answer:
    """Make a token and print its secret, once."""
    from shipway.wiring.platform import clock

    if role not in _ROLES:
        raise Rejected(f"there is no role {role[:40]!r}", fix=f"roles are {', '.join(_ROLES)}")
    ends = clock() + age(expires) if expires else None
    value = session.client.issue_token(name, role, endpoints=endpoint or (), expires_at=ends)
    return Answer(value, str(value["secret"]))


def age(said: str) -> float:
    """Return seconds.

    Raises:
        Rejected: it is not a number with h, d or w.

    >>> age("90d") / 86_400
    90.0
    """
    found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", said)
    if not found:
        raise Rejected(f"{said[:40]!r} is not an age", fix="write it like 12h, 90d or 8w")
    return float(int(found[1]) * _UNITS[found[2]])


@command(token_app, "list", options=PLATFORM)
def token_list(session: Session) -> Answer:
    """List tokens; their secrets are kept nowhere."""
    rows = session.client.tokens()
    lines = [[t["id"], t["name"], t["role"], ", ".join(t["endpoints"]) or "all", _state(t)] for t in rows]
    return Answer({"tokens": rows}, table(["token", "name", "role", "endpoints", "state"], lines))


def _state(token: dict[str, Any]) -> str:
    if token["revoked_at"] is not None:
        return "revoked"
    return f"ends {_day(token['expires_at'])}" if token["expires_at"] else "live"


def _day(at: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


@command(token_app, "revoke", options=PLATFORM)
def token_revoke(
    session: Session, which: Annotated[str, typer.Argument(metavar="TOKEN", help="Id or name of a token.")]
) -> Answer:
    """End a token now."""
    value = session.client.revoke_token(which)
    return Answer(value, f"{value['name']} ({value['id']}) opens nothing any more")
