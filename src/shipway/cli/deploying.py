"""Commands that bring versions to endpoints: gate, push, deploy, rollback, list, endpoint."""

from pathlib import Path
from time import monotonic, sleep
from typing import Annotated, Any

import typer

from shipway.cli.assignments import policies, settings, text
from shipway.cli.frame import PLATFORM, Answer, Session, command, encode, group, table
from shipway.cli.shipping import CODES, judged, pushed, registered
from shipway.cli.subject import find_version, is_folder
from shipway.errors import Missing, Rejected, ShipwayError

app = group("Bring versions to endpoints.")
endpoint_app = group("Change settings and policy files of an endpoint.")

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Setting of the endpoint, e.g. auto_promote=true.", show_default=False
    ),
]
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy", metavar="KIND=FILE", help="Policy file: gate, rollout, monitor or retrain.", show_default=False
    ),
]


@command(app, "gate", options=PLATFORM)
def gate(
    session: Session,
    *,
    bundle: Annotated[str, typer.Argument(metavar="REF|FOLDER", help="Version, or bundle folder.")],
    policy: Annotated[
        Path | None, typer.Option(help="gate.toml; by default the built-in one.", show_default=False)
    ] = None,
    champion: Annotated[
        Path | None, typer.Option(help="Bundle folder to compare a folder with.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Rows to judge a folder on instead of its own holdout.", show_default=False)
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of --data with the truth.", show_default=False)] = None,
) -> Answer:
    """Judge from evidence whether a version may ship: 0 pass, 1 fail, 4 undecided.

    A version of the platform is compared with its champion and the verdict is attached to its digest. A
    folder is judged here, without a server.
    """
    rules = text(policy) if policy else None
    if is_folder(bundle):
        judgement = _gate_folder(session, Path(bundle), champion, rules, data, target)
    else:
        if champion or data or target:
            raise Rejected(
                "--champion, --data and --target are for bundle folders",
                fix="leave them out: the platform knows the champion and the holdout",
            )
        row = find_version(session, bundle)
        judgement = session.client.gate(row["model"], row["version"], policy=rules)
    return Answer(judgement, shown(judgement), CODES[judgement["verdict"]])


def _gate_folder(
    session: Session, folder: Path, champion: Path | None, rules: str | None, data: Path | None, target: str | None
) -> dict[str, Any]:
    import msgspec

    from shipway import gate as judging
    from shipway.pack import read_table
    from shipway.wiring.platform import clock

    rows = read_table(data) if data else None
    if data and not target:
        raise Rejected("--data needs --target", fix="name the column with the truth")
    named = {"target": target} if target else {}
    with session.progress("judging"):
        judgement, _ = judging.run(folder, champion, rules, now=clock(), data=rows, **named)
    return dict(msgspec.to_builtins(judgement))


def shown(judgement: dict[str, Any]) -> str:
    """Write a judgement for people: the sentence, then each check."""
    checks = [[check["verdict"], check["sentence"]] for check in judgement.get("checks", [])]
    return (
        f"{judgement['verdict']}: {judgement['sentence']}\n\n{table(['check', 'why'], checks)}"
        if checks
        else str(judgement["sentence"])
    )


@command(app, "push", options=PLATFORM)
def push(session: Session, folder: Annotated[Path, typer.Argument(help="Bundle folder.")]) -> Answer:
    """Upload and register a bundle without deploying it."""
    row = pushed(session, folder)
    value = {key: row[key] for key in ("model", "version", "digest", "gate")}
    return Answer(value, f"{row['model']}:{row['version']}  {row['digest']}")


@command(app, "deploy", options=PLATFORM)
def deploy(
    session: Session,
    *,
    bundle: Annotated[str, typer.Argument(metavar="REF|FOLDER", help="Version, or bundle folder.")],
    endpoint: Annotated[str, typer.Option(help="Name that callers use.")],
    set_: Settings = None,
    policy: Policies = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the server to answer with it.")] = 15.0,
) -> Answer:
    """Make a version answer everyone at an endpoint, at once.

    A bundle folder is uploaded, registered, gated and deployed in one go. To try a version on a growing share
    of the traffic instead, use `shipway rollout start`.
    """
    chosen, rules = settings(set_), policies(policy)
    version = registered(session, bundle)
    named = f"{version['model']}:{version['version']}"
    value: dict[str, Any] = {"deployed": False, "version": named, "digest": version["digest"], "endpoint": endpoint}
    value["gate"] = judgement = judged(session, version, endpoint, chosen, rules)
    if judgement and judgement["verdict"] != "pass":
        fix = f"see `shipway gate {named}`; --set require_gate=false deploys without"
        return Answer(value, f"not deployed\n  fix: {fix}", CODES[judgement["verdict"]])
    row = session.client.deploy(endpoint, named, settings=chosen, policies=rules)
    session.say(f"deployed    {named} answers everyone at {endpoint}")
    value |= {"deployed": True, "url": row["url"], "answers": _answers(session, endpoint, version["version"], wait)}
    if value["answers"]:
        return Answer(value, _try_it(bundle, row["url"]))
    fix = "start one with `shipway up` or `shipway serve`"
    return Answer(value, f"no server answers with it yet at {row['url']}\n  fix: {fix}")


def _answers(session: Session, endpoint: str, version: int, wait_s: float) -> bool:
    """Wait until the server answers with this version."""
    deadline = monotonic() + wait_s
    while True:
        try:
            if str(version) in session.client.predictor().versions(endpoint):
                return True
        except ShipwayError:
            pass
        if monotonic() >= deadline:
            return False
        sleep(0.1)


def _try_it(bundle: str, url: str) -> str:
    from shipway import bundle as bundles

    rows: list[Any] = []
    if is_folder(bundle):
        rows = bundles.examples(bundles.audit(bundles.read(Path(bundle)))).rows[:1]
    if not rows:
        return f"it answers   {url}"
    body = encode({"rows": rows}).replace("'", "'\\''")
    return f"try it      curl -d '{body}' {url}"


@command(app, "rollback", options=PLATFORM)
def rollback(session: Session, endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")]) -> Answer:
    """Return all traffic of an endpoint to its champion; where no rollout runs, to the champion before."""
    row = session.client.rollback(endpoint)
    return Answer(row, f"{row['model']}:{row['champion']} answers everyone at {endpoint}")


@command(app, "list", options=PLATFORM)
def list_(
    session: Session,
    *,
    what: Annotated[
        str,
        typer.Argument(
            metavar="[models|endpoints|MODEL]",
            help="What to list; a model's name lists its versions.",
            show_default=False,
        ),
    ] = "",
) -> Answer:
    """List models and endpoints, or the versions of one model."""
    if what not in ("", "models", "endpoints"):
        return _versions(session, what)
    value: dict[str, Any] = {}
    parts = []
    if what in ("", "models"):
        value["models"] = models = session.client.models()
        lines = [[m["name"], m["versions"], _arrows(m["aliases"])] for m in models]
        none = "no models yet: `shipway pack` makes one"
        parts.append(table(["model", "versions", "aliases"], lines) if lines else none)
    if what in ("", "endpoints"):
        value["endpoints"] = endpoints = session.client.endpoints()
        lines = [[e["name"], f"{e['model']}:{e['champion']}", e["rollout"] or "none", e["url"]] for e in endpoints]
        none = "no endpoints yet: `shipway deploy` makes one"
        parts.append(table(["endpoint", "champion", "rollout", "url"], lines) if lines else none)
    return Answer(value, "\n\n".join(parts))


def _versions(session: Session, model: str) -> Answer:
    rows = session.client.versions(model)
    lines = [
        [f"{r['model']}:{r['version']}", r["gate"] or "not judged", ", ".join(r["aliases"]), r["digest"][:19]]
        for r in rows
    ]
    return Answer({"versions": rows}, table(["version", "gate", "aliases", "digest"], lines))


def _arrows(aliases: dict[str, int]) -> str:
    return ", ".join(f"{alias} -> {version}" for alias, version in aliases.items())


@command(endpoint_app, "show", options=PLATFORM)
def endpoint_show(session: Session, endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")]) -> Answer:
    """Show who answers at an endpoint, its settings and its policies."""
    row = session.client.endpoint(endpoint)
    variants = [
        [v["name"], f"{v['model']}:{v['version']}", v["mode"], f"{v['weight'] / 100:g} %"] for v in row["variants"]
    ]
    chosen = [[key, encode(value)] for key, value in row["settings"].items()]
    kept = ", ".join(row["policies"]) or "none, so the defaults"
    who = table(["variant", "version", "mode", "weight"], variants)
    how = table(["setting", "value"], chosen)
    return Answer(row, f"{row['url']}\n\n{who}\n\n{how}\n\npolicies of its own: {kept}")


@command(endpoint_app, "set", options=PLATFORM)
def endpoint_set(
    session: Session,
    *,
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")],
    change: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Settings, e.g. auto_promote=true webhooks=http://host/hook.",
            show_default=False,
        ),
    ] = None,
    policy: Policies = None,
) -> Answer:
    """Change settings and policy files of an endpoint; what is not named stays.

    Settings are sticky, capture, capture_required, deadline_ms, max_rows, auto_promote, auto_retrain,
    webhooks, require_gate and public. An empty policy file goes back to the default.
    """
    if not change and not policy:
        raise Missing(
            "nothing to change was named",
            fix=f"name settings like auto_promote=true; `shipway endpoint show {endpoint}` lists them",
        )
    row = session.client.set_endpoint(endpoint, settings=settings(change), policies=policies(policy))
    return Answer(row, "\n".join(f"{key} = {encode(value)}" for key, value in row["settings"].items()))
