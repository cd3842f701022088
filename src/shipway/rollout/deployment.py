"""Put a version in front of all callers at once, and take it back: what needs no test, or cannot wait for one."""

from collections.abc import Mapping

from sqlalchemy import Connection

from shipway.endpoint import SqlEndpoints
from shipway.endpoint.routes import compose
from shipway.endpoint.rows import EndpointRow, EndpointSettings
from shipway.errors import Conflict, Rejected
from shipway.registry import SqlRegistry, VersionRow
from shipway.rollout import moves, rows
from shipway.terms import Verdict


def require_gate(tx: Connection, version: VersionRow) -> None:
    """Refuse a version without a gate verdict of pass.

    Raises:
        Rejected: its newest verdict is another, or there is none.
    """
    found = SqlRegistry(tx).evidence(version.digest, "gate")
    if found and found[0].verdict is Verdict.PASS:
        return
    said = f"its gate verdict is {found[0].verdict}" if found else "it has not been through the gate"
    raise Rejected(
        f"{version} may not answer callers: {said}",
        fix=f"`shipway gate {version}` judges it; the endpoint setting `require_gate = false` waives it",
    )


def deploy(  # noqa: PLR0913  -- what goes where, with which settings and policies, by whom
    tx: Connection,
    *,
    project: str,
    endpoint: str,
    version_row: VersionRow,
    settings: EndpointSettings,
    policies: Mapping[str, str],
    actor: str,
    now: float,
) -> EndpointRow:
    """Let a version answer all callers of an endpoint at once; make the endpoint if there is none.

    A rollout that runs there compares with a champion that is no more; the next look begins it again.

    Raises:
        Rejected: the settings require a gate verdict of pass, and the version has none.
    """
    if settings.require_gate:
        require_gate(tx, version_row)
    endpoints, registry = SqlEndpoints(tx), SqlRegistry(tx)
    why = f"deployed by {actor}"
    if endpoints.find(project, endpoint) is None:
        endpoints.create(
            project,
            endpoint,
            version_row.model,
            version_row.version,
            settings=settings,
            policies=policies,
            by=actor,
            now=now,
            why=why,
        )
    else:
        endpoints.set_settings(project, endpoint, settings, by=actor, now=now)
        endpoints.set_policies(project, endpoint, policies, by=actor, now=now)
        there = endpoints.get(project, endpoint)
        if (there.model, there.champion) != (version_row.model, version_row.version):
            endpoints.set_champion(
                project, endpoint, version_row.version, model=version_row.model, by=actor, now=now, why=why
            )
    alias = registry.alias(project, version_row.model, "champion")
    if alias is None or alias.version != version_row.version:
        registry.move_alias(
            project, version_row.model, "champion", version_row.version, seen=None, by=actor, why=why, now=now
        )
    compose(tx, now)
    return endpoints.get(project, endpoint)


def rollback_endpoint(tx: Connection, project: str, endpoint: str, actor: str, now: float) -> EndpointRow:
    """Return all traffic to the champion; where no rollout runs, to the champion before it.

    Raises:
        Conflict: there is no rollout and no earlier champion.
        Missing: no such endpoint.
    """
    endpoints = SqlEndpoints(tx)
    there = endpoints.get(project, endpoint)
    why = f"rolled back by {actor}"
    if running := rows.open_trials(tx, project, endpoint):
        row = running[0]
        payload = {"why": why, "state": row.state, "latest": row.latest}
        moves.record(tx, row, "rollout.rolled_back", payload, by=actor, now=now)
        moves.rolled_back(tx, row, by=actor, why=why, now=now)
        return endpoints.get(project, endpoint)
    if there.previous is None:
        raise Conflict(
            f"{endpoint} has had no champion before {there.model}:{there.champion}",
            fix="deploy the version you want: `shipway deploy NAME:VERSION`",
        )
    endpoints.set_champion(project, endpoint, there.previous, by=actor, now=now, why=why)
    SqlRegistry(tx).move_alias(project, there.model, "champion", there.previous, seen=None, by=actor, why=why, now=now)
    compose(tx, now)
    return endpoints.get(project, endpoint)
