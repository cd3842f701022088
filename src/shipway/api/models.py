"""Bundles, models, versions, aliases, gates and cards."""

import tempfile
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from msgspec import Meta, Struct
from starlette.concurrency import run_in_threadpool

from shipway import bundle, gate, govern
from shipway.api.call import Admin, Call, answer, body
from shipway.api.upload import receive, spool
from shipway.errors import Rejected
from shipway.registry import SqlRegistry, VersionRow
from shipway.terms import digest as checked_digest
from shipway.terms import name, ref

router = APIRouter(tags=["models"])

MAX_NUMBER = 2**31 - 1
Number = Annotated[int, Path(ge=1, le=MAX_NUMBER)]


class NewVersion(Struct, forbid_unknown_fields=True):
    """Which uploaded bundle gets a version number."""

    digest: str


class AliasMove(Struct, forbid_unknown_fields=True):
    """Where an alias should point."""

    version: Annotated[int, Meta(ge=1, le=MAX_NUMBER)]
    seen: Annotated[int, Meta(ge=0, le=MAX_NUMBER)] | None = None
    """Revision last read; 0 for an alias that is not there yet; null to move whatever was there."""
    why: str = ""


class GateRequest(Struct, forbid_unknown_fields=True):
    """What to judge by."""

    policy: str | None = None
    """Text of a gate.toml; the default policy where null."""


_TAR = {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}


@router.put("/v1/bundles", openapi_extra={"requestBody": {"required": True, "content": _TAR}})
async def upload_bundle(request: Request, call: Admin) -> Response:
    """Store a bundle, sent as `tar --format=ustar`, and answer its digest. The same bundle is stored once."""
    settings = call.platform.settings
    settings.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=settings.home) as archive:
        await spool(request, archive)
        digest = await run_in_threadpool(receive, archive, call.platform.bundles, scratch=settings.home / "uploads")
    return answer({"digest": digest})


@router.get("/v1/models")
def list_models(call: Admin) -> Response:
    """List models with their newest version and aliases."""
    with call.platform.database.read() as tx:
        return answer({"models": SqlRegistry(tx).models(call.project)})


@router.get("/v1/resolve")
def resolve_reference(call: Admin, reference: Annotated[str, Query(alias="ref")]) -> Response:
    """Answer the version that a reference means now: `name`, `name@alias`, `name:version` or a digest."""
    with call.platform.database.read() as tx:
        row = SqlRegistry(tx).resolve(call.project, ref(reference))
    return answer({"model": row.model, "version": row.version, "digest": row.digest})


@router.get("/v1/models/{model}/versions")
def list_versions(call: Admin, model: str) -> Response:
    """List the versions of a model, newest first."""
    with call.platform.database.read() as tx:
        registry = SqlRegistry(tx)
        listed = [_version(registry, call, row) for row in registry.versions(call.project, name(model, "model"))]
    return answer({"versions": listed})


@router.post("/v1/models/{model}/versions")
def register_version(call: Admin, model: str, wanted: Annotated[NewVersion, Depends(body(NewVersion))]) -> Response:
    """Give an uploaded bundle the next version number; the same bundle keeps its number."""
    read = bundle.read(call.platform.bundles.path(checked_digest(wanted.digest)))
    if read.manifest.model != name(model, "model"):
        raise Rejected(
            f"the bundle was packed as {read.manifest.model}, not as {model}",
            fix=f"register it as {read.manifest.model}, or pack it again",
        )
    with call.platform.database.transaction() as tx:
        number = SqlRegistry(tx).add_version(call.project, read.manifest, read.digest, by=call.actor, now=call.now)
    return answer({"model": model, "version": number, "digest": read.digest}, 201)


@router.get("/v1/models/{model}/versions/{version}")
def show_version(call: Admin, model: str, version: Number) -> Response:
    """Show one version: manifest, aliases and the evidence attached to its digest."""
    with call.platform.database.read() as tx:
        registry = SqlRegistry(tx)
        row = registry.version(call.project, name(model, "model"), version)
        shown = {
            **_version(registry, call, row),
            "manifest": row.manifest,
            "evidence": registry.evidence(row.digest, project=call.project),
        }
    return answer(shown)


def _version(registry: SqlRegistry, call: Call, row: VersionRow) -> dict[str, object]:
    aliases = [a.alias for a in registry.aliases(call.project, row.model) if a.version == row.version]
    judged = registry.evidence(row.digest, "gate", project=call.project)
    return {
        "model": row.model, "version": row.version, "digest": row.digest, "aliases": aliases,
        "gate": judged[0].verdict if judged else None, "created_at": row.created_at, "created_by": row.created_by,
        "task": row.manifest.task, "metrics": row.manifest.metrics,
    }  # fmt: skip


@router.get("/v1/models/{model}/aliases")
def list_aliases(call: Admin, model: str) -> Response:
    """List the aliases of a model with the revision that a move must have seen."""
    with call.platform.database.read() as tx:
        rows = SqlRegistry(tx).aliases(call.project, name(model, "model"))
    return answer({"aliases": rows})


@router.put("/v1/models/{model}/aliases/{alias}")
def move_alias(call: Admin, model: str, alias: str, move: Annotated[AliasMove, Depends(body(AliasMove))]) -> Response:
    """Point an alias at a version, unless someone moved it since `seen`."""
    with call.platform.database.transaction() as tx:
        revision = SqlRegistry(tx).move_alias(
            call.project, name(model, "model"), name(alias, "alias"), move.version,
            seen=move.seen, by=call.actor, why=move.why, now=call.now,
        )  # fmt: skip
    return answer({"alias": alias, "version": move.version, "revision": revision})


@router.post("/v1/models/{model}/versions/{version}/gate")
def judge_version(
    call: Admin, model: str, version: Number, wanted: Annotated[GateRequest, Depends(body(GateRequest))]
) -> Response:
    """Judge a version against thresholds and the champion, and attach the verdict to its digest."""
    store = call.platform.bundles
    with call.platform.database.read() as tx:
        registry = SqlRegistry(tx)
        row = registry.version(call.project, name(model, "model"), version)
        champion = _champion(registry, call, row)
    # Judging takes seconds; no transaction is held meanwhile.
    store.audited(row.digest)
    judgement, statement = gate.run(
        store.path(row.digest), store.path(champion) if champion else None, wanted.policy, now=call.now
    )
    with call.platform.database.transaction() as tx:
        SqlRegistry(tx).attach(call.project, row.digest, "gate", statement, judgement.verdict, call.now, by=call.actor)
    return answer({**msgspec.to_builtins(judgement), "model": row.model, "version": row.version, "digest": row.digest})


def _champion(registry: SqlRegistry, call: Call, candidate: VersionRow) -> str:
    """Return the digest of the champion that a candidate has to compare with, or ""."""
    alias = registry.alias(call.project, candidate.model, "champion")
    if alias is None or alias.version == candidate.version:
        return ""
    return registry.version(call.project, candidate.model, alias.version).digest


@router.get("/v1/models/{model}/versions/{version}/card")
def show_card(
    call: Admin, model: str, version: Number, form: Annotated[str, Query(pattern="^(markdown|html|json)$")] = "markdown"
) -> Response:
    """Show the card of a version: each claim measured, attested or absent."""
    with call.platform.database.read() as tx:
        card = govern.card_of(tx, SqlRegistry(tx).version(call.project, name(model, "model"), version))
    if form == "json":
        return answer({"card": card})
    return answer({"card": card.to_html() if form == "html" else card.to_markdown()})
