"""Endpoints: what runs, deploy, settings, instant rollback."""

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Response
from msgspec import Struct

from shipway.api.call import Admin, Call, answer, body
from shipway.endpoint import SqlEndpoints
from shipway.endpoint.routes import compose
from shipway.endpoint.rows import EndpointRow, EndpointSettings
from shipway.errors import Rejected
from shipway.registry import SqlRegistry, VersionRow
from shipway.rollout import parse_policy as parse_rollout_policy
from shipway.rollout.deployment import deploy as roll_out
from shipway.rollout.deployment import rollback_endpoint
from shipway.settings import Settings
from shipway.terms import name, ref

router = APIRouter(tags=["endpoints"])

WEBHOOK = re.compile(r"https?://[^\s/]+")

TAKES = {
    "sticky": "`header:NAME`, or nothing",
    "deadline_ms": "milliseconds, a whole number from 1 to 600000",
    "max_rows": "a whole number from 1",
    "webhooks": "a list of URLs that begin with http:// or https://",
    **dict.fromkeys(
        ("capture", "capture_required", "auto_promote", "auto_retrain", "require_gate", "public"), "true or false"
    ),
}
"""Setting of an endpoint -> what it may be."""

POLICIES = ("gate", "rollout", "monitor", "retrain")


class Deployment(Struct, forbid_unknown_fields=True):
    """Which version answers everyone, and under which rules."""

    ref: str
    settings: dict[str, Any] = {}
    policies: dict[str, str] = {}
    """gate, rollout, monitor or retrain -> text of the policy file."""


class EndpointChange(Struct, forbid_unknown_fields=True):
    """What to change; what is not named stays."""

    settings: dict[str, Any] = {}
    policies: dict[str, str] = {}


class Reason(Struct, forbid_unknown_fields=True):
    """Why, for the ledger."""

    why: str = ""


def server_address(settings: Settings) -> str:
    """Return where this installation's own server answers."""
    host = "127.0.0.1" if settings.server_host in ("0.0.0.0", "::") else settings.server_host  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{settings.server_port}" if ":" in host else f"http://{host}:{settings.server_port}"


def shown(call: Call, row: EndpointRow) -> dict[str, object]:
    """Render an endpoint."""
    fields: dict[str, object] = msgspec.to_builtins(row)
    return {**fields, "url": f"{server_address(call.platform.settings)}/v2/models/{row.name}/infer"}


@router.get("/v1/endpoints")
def list_endpoints(call: Admin) -> Response:
    """List endpoints."""
    with call.platform.database.read() as tx:
        rows = SqlEndpoints(tx).all(call.project)
    return answer({"endpoints": [shown(call, row) for row in rows]})


@router.get("/v1/endpoints/{endpoint}")
def show_endpoint(call: Admin, endpoint: str) -> Response:
    """Show one endpoint: champion, variants, settings, policies."""
    with call.platform.database.read() as tx:
        row = SqlEndpoints(tx).get(call.project, name(endpoint, "endpoint"))
    return answer(shown(call, row))


@router.put("/v1/endpoints/{endpoint}")
def deploy(call: Admin, endpoint: str, wanted: Annotated[Deployment, Depends(body(Deployment))]) -> Response:
    """Make a version answer everyone at an endpoint, at once; the endpoint is made where there is none.

    A version on trial is what `POST .../rollouts` is for.
    """
    version = sound_version(call, wanted.ref)
    with call.platform.database.transaction() as tx:
        endpoints = SqlEndpoints(tx)
        before = endpoints.find(call.project, name(endpoint, "endpoint"))
        settings = changed(before.settings if before else EndpointSettings(), wanted.settings)
        policies = {**(before.policies if before else {}), **checked(wanted.policies)}
        roll_out(
            tx, project=call.project, endpoint=endpoint, version_row=version, settings=settings,
            policies=policies, actor=call.actor, now=call.now,
        )  # fmt: skip
        row = endpoints.get(call.project, endpoint)
    return answer(shown(call, row))


@router.patch("/v1/endpoints/{endpoint}")
def change_endpoint(
    call: Admin, endpoint: str, wanted: Annotated[EndpointChange, Depends(body(EndpointChange))]
) -> Response:
    """Change settings and policy files of an endpoint; what is not named stays."""
    with call.platform.database.transaction() as tx:
        endpoints = SqlEndpoints(tx)
        before = endpoints.get(call.project, name(endpoint, "endpoint"))
        if wanted.settings:
            endpoints.set_settings(
                call.project, endpoint, changed(before.settings, wanted.settings), by=call.actor, now=call.now
            )
        if wanted.policies:
            endpoints.set_policies(call.project, endpoint, checked(wanted.policies), by=call.actor, now=call.now)
        compose(tx, call.now)
        row = endpoints.get(call.project, endpoint)
    return answer(shown(call, row))


@router.post("/v1/endpoints/{endpoint}/rollback")
def roll_back_endpoint(call: Admin, endpoint: str) -> Response:
    """Return all traffic to the champion; where no rollout runs, to the champion before it."""
    with call.platform.database.transaction() as tx:
        rollback_endpoint(tx, call.project, name(endpoint, "endpoint"), call.actor, call.now)
        row = SqlEndpoints(tx).get(call.project, endpoint)
    return answer(shown(call, row))


def sound_version(call: Call, reference: str) -> VersionRow:
    """Return the version that a reference means, if its stored bundle still is what was registered.

    Raises:
        Missing: there is no such version.
        Tampered: its bundle was changed; servers would refuse to load it.
    """
    with call.platform.database.read() as tx:
        version = SqlRegistry(tx).resolve(call.project, ref(reference))
    # Hashing a large bundle takes seconds; no transaction is held meanwhile.
    call.platform.bundles.audited(version.digest)
    return version


def changed(before: EndpointSettings, wanted: dict[str, Any]) -> EndpointSettings:
    """Return settings with the named ones replaced.

    Raises:
        Rejected: there is no such setting, or it does not take such a value.
    """
    known = {field.name for field in msgspec.structs.fields(EndpointSettings)}
    for unknown in sorted(set(wanted) - known):
        raise Rejected(f"endpoints have no setting {unknown!r}", fix=f"settings are {', '.join(sorted(known))}")
    try:
        after = msgspec.convert({**msgspec.to_builtins(before), **wanted}, EndpointSettings)
    except msgspec.ValidationError as exc:
        key = next((key for key in wanted if f"$.{key}" in str(exc)), "")
        if not key:
            raise Rejected(f"the settings do not fit: {exc}", fix="`shipway endpoint show` lists them") from exc
        raise _no_value(key, wanted[key]) from exc
    # Asked of what comes in, not of what is kept: a kept value that a later rule forbids must stay readable.
    strange = [url for url in after.webhooks if "webhooks" in wanted and not WEBHOOK.match(url)]
    if strange:
        raise _no_value("webhooks", strange[0])
    return after


def _no_value(key: str, value: object) -> Rejected:
    shown = msgspec.json.encode(value).decode()[:80]
    return Rejected(f"{shown} is no value for the endpoint setting {key}", fix=f"it takes {TAKES[key]}")


def checked(policies: dict[str, str]) -> dict[str, str]:
    """Return policy files if each parses.

    Raises:
        Rejected: a name is none of gate, rollout, monitor and retrain, or a file does not parse.
    """
    from shipway import gate, monitor, retrain  # noqa: PLC0415 - only deployments need them

    parsers = {
        "gate": gate.parse_policy,
        "rollout": parse_rollout_policy,
        "monitor": monitor.parse_policy,
        "retrain": retrain.parse_policy,
    }
    for kind, text in policies.items():
        if kind not in parsers:
            raise Rejected(f"there is no policy called {kind!r}", fix=f"policies are {', '.join(POLICIES)}")
        parsers[kind](text)
    return policies
