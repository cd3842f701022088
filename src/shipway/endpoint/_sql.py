"""Endpoints in SQL, over an open transaction of `shipway.database`."""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, insert, select, update

from shipway import ledger
from shipway.database import schema
from shipway.endpoint.decide import check_split
from shipway.endpoint.rows import EndpointRow, EndpointSettings
from shipway.errors import Conflict, Missing, Rejected
from shipway.terms import BASIS, Manifest, Variant, name

POLICIES = ("gate", "rollout", "monitor", "retrain")


class SqlEndpoints:
    """Endpoints of every project, within one transaction.

    Laws: an endpoint always has exactly one champion that answers; its variants name versions that exist;
    every change raises its revision by one and is in the ledger. A change does not reach servers until
    `compose` has run in the same transaction.
    """

    def __init__(self, tx: Connection) -> None:
        self._tx = tx

    def find(self, project: str, name: str) -> EndpointRow | None:
        """Return an endpoint, or None."""
        e = schema.endpoint
        row = self._tx.execute(select(e).where(e.c.project == project, e.c.name == name)).mappings().first()
        return None if row is None else _endpoint(row)

    def get(self, project: str, name: str) -> EndpointRow:
        """Return an endpoint.

        Raises:
            Missing: no such endpoint; the fix suggests close names.
        """
        row = self.find(project, name)
        if row is not None:
            return row
        known = [e.name for e in self.all(project)]
        close = difflib.get_close_matches(name, known, n=3)
        where = "" if project == "default" else f" in project {project}"
        if not known:
            raise Missing(
                f"no endpoint is called {name}{where}; there is none at all yet",
                fix=f"make one: `shipway deploy REF --endpoint {name}`",
            )
        meant = f"did you mean {' or '.join(close)}? " if close else ""
        more = f" and {len(known) - 5} more" if len(known) > 5 else ""
        raise Missing(f"no endpoint is called {name}{where}", fix=f"{meant}there are {', '.join(known[:5])}{more}")

    def all(self, project: str | None = None) -> list[EndpointRow]:
        """List endpoints by project and name."""
        e = schema.endpoint
        wanted = select(e).order_by(e.c.project, e.c.name)
        if project is not None:
            wanted = wanted.where(e.c.project == project)
        return [_endpoint(row) for row in self._tx.execute(wanted).mappings()]

    def variant(  # noqa: PLR0913 - the parts of a variant, all but three with defaults
        self,
        project: str,
        model: str,
        version: int,
        *,
        name: str = "champion",
        weight: int = BASIS,
        mode: str = "answer",
        isolated: bool | None = None,
        shadow_share: int = 0,
        timeout_ms: int = 1000,
    ) -> Variant:
        """Describe a registered version as a variant; isolated unless its bundle may run inline or as told.

        Raises:
            Missing: no such version.
        """
        v = schema.version
        row = self._tx.execute(
            select(v.c.digest, v.c.manifest).where(v.c.project == project, v.c.model == model, v.c.version == version)
        ).first()
        if row is None:
            raise Missing(f"there is no {model}:{version}", fix=f"`shipway inspect {model}` shows what there is")
        runtime = msgspec.json.decode(row.manifest, type=Manifest).runtime
        draft = {
            "name": name, "model": model, "version": version, "digest": row.digest, "weight": weight, "mode": mode,
            "isolated": not runtime.inline if isolated is None else isolated, "shadow_share": shadow_share,
            "timeout_ms": timeout_ms,
        }  # fmt: skip
        return msgspec.convert(draft, Variant)

    def create(  # noqa: PLR0913 - an endpoint has these parts
        self,
        project: str,
        name: str,
        model: str,
        version: int,
        *,
        settings: EndpointSettings | None = None,
        policies: Mapping[str, str] | None = None,
        by: str,
        now: float,
        why: str = "",
    ) -> EndpointRow:
        """Make an endpoint that a version answers alone.

        Raises:
            Conflict: there is one already.
            Missing: no such version.
        """
        _named(name)
        if (there := self.find(project, name)) is not None:
            raise Conflict(
                f"endpoint {name} exists, and {there.model}:{there.champion} answers it",
                fix=f"replace what answers: `shipway rollout start {name} {model}:{version}`",
            )
        row = EndpointRow(
            project=project,
            name=name,
            model=model,
            champion=version,
            previous=None,
            variants=(self.variant(project, model, version),),
            rollout="",
            restart=0,
            settings=settings or EndpointSettings(),
            policies=_policies(policies or {}),
            revision=1,
            created_at=now,
        )
        self._tx.execute(insert(schema.endpoint).values(_columns(row)))
        payload = {
            "model": model, "version": version, "digest": row.variants[0].digest, "why": why,
            "settings": row.settings, "policies": _digests(row.policies),
        }  # fmt: skip
        self._note(row, by, "endpoint.created", payload, now)
        return row

    def set_split(  # noqa: PLR0913 - what changes, who, when, why
        self,
        project: str,
        name: str,
        variants: Sequence[Variant],
        rollout: str = "",
        restart: int = 0,
        *,
        by: str = "shipway",
        now: float,
        why: str = "",
        seen: int | None = None,
    ) -> EndpointRow:
        """Give each variant its share.

        Raises:
            Rejected: not a split that servers can obey.
            Conflict: `seen` is given and is not the endpoint's revision any more.
        """
        row = self._seen(project, name, seen)
        champion = check_split(name, variants, rollout)
        if (champion.model, champion.version) != (row.model, row.champion):
            raise Rejected(
                f"{champion.model}:{champion.version} is not the champion of {name}; {row.model}:{row.champion} is",
                fix="promote it first, or give the split its present champion",
            )
        changed = msgspec.structs.replace(row, variants=tuple(variants), rollout=rollout, restart=restart)
        shares = [
            {"name": v.name, "version": v.version, "mode": v.mode, "weight": v.weight, "shadow_share": v.shadow_share}
            for v in variants
        ]
        payload = {"variants": shares, "rollout": rollout, "restart": restart, "why": why}
        return self._write(changed, by, "endpoint.split", payload, now)

    def set_champion(  # noqa: PLR0913 - what changes, who, when, why
        self,
        project: str,
        name: str,
        version: int,
        *,
        model: str | None = None,
        by: str,
        now: float,
        why: str = "",
        seen: int | None = None,
    ) -> EndpointRow:
        """Let one version answer everything; ends any split, and remembers the champion before.

        Raises:
            Missing: no such endpoint or version.
            Conflict: `seen` is given and is not the endpoint's revision any more.
        """
        row = self._seen(project, name, seen)
        model = model or row.model
        same = (model, version) == (row.model, row.champion)
        # Another model has numbers of its own, so its rollback must not go by the old model's number.
        before = row.champion if model == row.model else None
        changed = msgspec.structs.replace(
            row,
            model=model,
            champion=version,
            previous=row.previous if same else before,
            variants=(self.variant(project, model, version),),
            rollout="",
            restart=0,
        )
        payload = {
            "model": model, "from": row.champion, "to": version, "digest": changed.variants[0].digest, "why": why,
        }  # fmt: skip
        return self._write(changed, by, "endpoint.champion", payload, now)

    def set_settings(
        self, project: str, name: str, settings: EndpointSettings, *, by: str, now: float, seen: int | None = None
    ) -> EndpointRow:
        """Replace the settings of an endpoint."""
        row = self._seen(project, name, seen)
        if row.settings == settings:
            return row
        changed = msgspec.structs.replace(row, settings=settings)
        return self._write(changed, by, "endpoint.settings", {"settings": settings}, now)

    def set_policies(
        self,
        project: str,
        name: str,
        policies: Mapping[str, str],
        *,
        by: str,
        now: float,
        seen: int | None = None,
    ) -> EndpointRow:
        """Set policies by room; the others stay, and an empty text goes back to the default.

        Raises:
            Rejected: there is no policy of that name.
        """
        row = self._seen(project, name, seen)
        merged = {k: v for k, v in {**row.policies, **_policies(policies)}.items() if v}
        if merged == row.policies:
            return row
        changed = msgspec.structs.replace(row, policies=merged)
        return self._write(changed, by, "endpoint.policies", {"policies": _digests(merged)}, now)

    def _seen(self, project: str, name: str, seen: int | None) -> EndpointRow:
        row = self.get(project, name)
        if seen is not None and seen != row.revision:
            raise Conflict(
                f"endpoint {name} is at revision {row.revision}, and you last saw revision {seen}",
                fix="look at it again, then decide again",
            )
        return row

    def _write(self, changed: EndpointRow, by: str, kind: str, payload: dict[str, Any], now: float) -> EndpointRow:
        row = msgspec.structs.replace(changed, revision=changed.revision + 1)
        e = schema.endpoint
        self._tx.execute(update(e).where(e.c.project == row.project, e.c.name == row.name).values(_columns(row)))
        self._note(row, by, kind, payload, now)
        return row

    def _note(self, row: EndpointRow, by: str, kind: str, payload: dict[str, Any], now: float) -> None:
        subject = f"endpoint:{row.name}"
        full = {**payload, "revision": row.revision}
        ledger.append(self._tx, project=row.project, actor=by, kind=kind, subject=subject, payload=full, now=now)


def _named(endpoint: str) -> None:
    name(endpoint, "endpoint")


def _policies(policies: Mapping[str, str]) -> dict[str, str]:
    for kind in policies:
        if kind not in POLICIES:
            raise Rejected(f"{kind!r} is not a policy", fix=f"the policies are {', '.join(POLICIES)}")
    return dict(policies)


def _digests(policies: Mapping[str, str]) -> dict[str, str]:
    """Name the policies in the ledger by what they say."""
    return {kind: "sha256:" + hashlib.sha256(text.encode()).hexdigest() for kind, text in policies.items()}


def _columns(row: EndpointRow) -> dict[str, Any]:
    values = msgspec.structs.asdict(row)
    for column in ("variants", "settings", "policies"):
        values[column] = msgspec.json.encode(values[column]).decode()
    return values


def _endpoint(row: RowMapping) -> EndpointRow:
    values = dict(row)
    values["variants"] = msgspec.json.decode(row.variants, type=tuple[Variant, ...])
    values["settings"] = msgspec.json.decode(row.settings, type=EndpointSettings)
    values["policies"] = msgspec.json.decode(row.policies)
    return EndpointRow(**values)
