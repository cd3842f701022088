"""The registry in SQL, over an open transaction of `shipway.database`."""

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import msgspec
from sqlalchemy import Connection, Row, func, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from shipway import ledger
from shipway.database import schema
from shipway.errors import Conflict, Missing
from shipway.ledger.chain import canonical
from shipway.registry.rows import AliasMove, AliasRow, EvidenceRow, ModelRow, VersionRow
from shipway.terms import Manifest, Ref, Verdict, digest, name

CHAMPION = "champion"


class SqlRegistry:
    """Models, versions, aliases and evidence of every project, within one transaction.

    Laws: versions of a model count 1, 2, 3 without a gap; one digest has one number per model, for good; an
    alias names a version that exists, and each move raises its revision by one; nothing is ever deleted.
    """

    def __init__(self, tx: Connection) -> None:
        self._tx = tx

    # models and versions

    def add_version(self, project: str, manifest: Manifest, digest: str, *, by: str, now: float) -> int:
        """Number a bundle under the model that its manifest names; a digest already there keeps its number.

        Raises:
            Rejected: a name or the digest is not written as one.
        """
        name(project, "project")
        name(manifest.model, "model")
        _digest(digest)
        v = schema.version
        there = (v.c.project == project) & (v.c.model == manifest.model)
        known: int | None = self._tx.execute(select(v.c.version).where(there, v.c.digest == digest)).scalar()
        if known is not None:
            return known
        first = upsert(schema.model).values(
            project=project, name=manifest.model, description=manifest.description, created_at=now
        )
        self._tx.execute(first.on_conflict_do_nothing())
        number: int = (self._tx.execute(select(func.max(v.c.version)).where(there)).scalar() or 0) + 1
        self._tx.execute(
            insert(v).values(
                project=project,
                model=manifest.model,
                version=number,
                digest=digest,
                manifest=msgspec.json.encode(manifest).decode(),
                created_at=now,
                created_by=by,
            )
        )
        self._note(project, by, "version.registered", f"model:{manifest.model}:{number}", {"digest": digest}, now)
        return number

    def models(self, project: str) -> list[ModelRow]:
        """List the models of a project by name."""
        m, v, a = schema.model, schema.version, schema.alias
        counts = {
            row.model: row.n
            for row in self._tx.execute(
                select(v.c.model, func.max(v.c.version).label("n")).where(v.c.project == project).group_by(v.c.model)
            )
        }
        aliases: dict[str, dict[str, int]] = {}
        for row in self._tx.execute(select(a).where(a.c.project == project).order_by(a.c.alias)):
            aliases.setdefault(row.model, {})[row.alias] = row.version
        rows = self._tx.execute(select(m).where(m.c.project == project).order_by(m.c.name))
        return [
            ModelRow(project, r.name, r.description, r.created_at, counts.get(r.name, 0), aliases.get(r.name, {}))
            for r in rows
        ]

    def versions(self, project: str, model: str) -> list[VersionRow]:
        """List the versions of a model, newest first.

        Raises:
            Missing: no such model.
        """
        v = schema.version
        rows = self._tx.execute(
            select(v).where(v.c.project == project, v.c.model == model).order_by(v.c.version.desc())
        ).all()
        if not rows:
            self._no_model(project, model)
        return [_version(row) for row in rows]

    def version(self, project: str, model: str, n: int) -> VersionRow:
        """Return one version.

        Raises:
            Missing: no such model, or no such version of it.
        """
        v = schema.version
        row = self._tx.execute(select(v).where(v.c.project == project, v.c.model == model, v.c.version == n)).first()
        if row is not None:
            return _version(row)
        newest = self._newest(project, model)
        have = "only version 1" if newest == 1 else f"versions 1 to {newest}"
        raise Missing(f"{model} has no version {n}; it has {have}", fix=f"name one of them, like {model}:{newest}")

    def resolve(self, project: str, ref: Ref) -> VersionRow:
        """Find the version that a reference means: a bare name is its champion, else its newest version.

        Raises:
            Missing: nothing is there under this reference; the fix suggests close names.
        """
        if ref.digest:
            return self._by_digest(project, ref.digest)
        if ref.version:
            return self.version(project, ref.model, ref.version)
        row = self.alias(project, ref.model, ref.alias or CHAMPION)
        if row is not None:
            return self.version(project, ref.model, row.version)
        newest = self._newest(project, ref.model)
        if not ref.alias:
            return self.version(project, ref.model, newest)
        known = [a.alias for a in self.aliases(project, ref.model)]
        have = f"its aliases are {', '.join(known)}" if known else "it has none yet"
        raise Missing(
            f"{ref.model} has no alias {ref.alias}; {have}",
            fix=_suggestion(ref.alias, known, f"{ref.model}@") + f"{ref.model}:{newest} is its newest version",
        )

    # aliases

    def alias(self, project: str, model: str, alias: str) -> AliasRow | None:
        """Return where an alias points, or None."""
        a = schema.alias
        row = self._tx.execute(select(a).where(a.c.project == project, a.c.model == model, a.c.alias == alias)).first()
        return None if row is None else AliasRow(row.model, row.alias, row.version, row.revision)

    def aliases(self, project: str, model: str) -> list[AliasRow]:
        """List the aliases of a model by name."""
        a = schema.alias
        rows = self._tx.execute(select(a).where(a.c.project == project, a.c.model == model).order_by(a.c.alias))
        return [AliasRow(r.model, r.alias, r.version, r.revision) for r in rows]

    def alias_history(self, project: str, model: str, alias: str) -> list[AliasMove]:
        """List the moves of an alias, newest first."""
        m = schema.alias_move
        rows = self._tx.execute(
            select(m)
            .where(m.c.project == project, m.c.model == model, m.c.alias == alias)
            .order_by(m.c.revision.desc())
        )
        return [AliasMove(r.revision, r.version, r.moved_at, r.moved_by, r.why) for r in rows]

    def move_alias(  # noqa: PLR0913 - who moves what to where, from what they saw, and why
        self, project: str, model: str, alias: str, version: int, *, seen: int | None, by: str, why: str, now: float
    ) -> int:
        """Point an alias to a version, if it still is where the caller last saw it.

        Args:
            project: of the model.
            model: name.
            alias: name.
            version: where it should point.
            seen: revision the caller last read; 0 if there was no such alias; None to move whatever it is.
            by: who moves it.
            why: for people who look at the history.
            now: Unix seconds.

        Returns:
            The new revision.

        Raises:
            Conflict: someone moved it since.
            Missing: no such model or version.
        """
        name(alias, "alias")
        target = self.version(project, model, version)
        row = self.alias(project, model, alias)
        revision = row.revision if row else 0
        if seen is not None and seen != revision:
            self._moved_first(project, model, alias, row, seen)
        moved = upsert(schema.alias).values(
            project=project, model=model, alias=alias, version=version, revision=revision + 1
        )
        self._tx.execute(
            moved.on_conflict_do_update(
                index_elements=["project", "model", "alias"], set_={"version": version, "revision": revision + 1}
            )
        )
        self._tx.execute(
            insert(schema.alias_move).values(
                project=project,
                model=model,
                alias=alias,
                revision=revision + 1,
                version=version,
                moved_at=now,
                moved_by=by,
                why=why,
            )
        )
        payload = {
            "alias": alias, "from": row.version if row else None, "to": version, "digest": target.digest,
            "revision": revision + 1, "why": why,
        }  # fmt: skip
        self._note(project, by, "alias.moved", f"model:{model}:{version}", payload, now)
        return revision + 1

    # evidence

    def attach(  # noqa: PLR0913 - a statement about a bundle has these parts
        self,
        project: str,
        digest: str,
        kind: str,
        statement: dict[str, Any],
        verdict: Verdict | None,
        now: float,
        *,
        by: str = "shipway",
    ) -> str:
        """Attach a statement to a bundle; the same one again changes nothing.

        Returns:
            Its id, a sha256 of the statement and of what it is about.

        Raises:
            Missing: no version of the project has this digest.
            Rejected: the statement has no canonical form.
        """
        row = self._by_digest(project, digest)
        text = canonical(statement, kind)
        # Project and digest are part of it: what one project attests says nothing in another.
        scope = canonical({"project": project, "digest": digest, "kind": kind}, kind)
        key = "sha256:" + hashlib.sha256(scope + text).hexdigest()
        e = schema.evidence
        if self._tx.execute(select(e.c.id).where(e.c.id == key)).first() is None:
            values = {
                "id": key, "project": project, "digest": digest, "kind": kind, "created_at": now,
                "verdict": None if verdict is None else str(verdict), "statement": text.decode(),
            }  # fmt: skip
            self._tx.execute(insert(e).values(values))
            payload = {"kind": kind, "digest": digest, "evidence": key, "verdict": values["verdict"]}
            self._note(project, by, "evidence.attached", f"model:{row}", payload, now)
        return key

    def evidence(self, digest: str, kind: str | None = None, *, project: str | None = None) -> list[EvidenceRow]:
        """List the statements about a bundle, newest first."""
        e = schema.evidence
        wanted = select(e).where(e.c.digest == digest).order_by(e.c.created_at.desc(), e.c.id)
        if kind is not None:
            wanted = wanted.where(e.c.kind == kind)
        if project is not None:
            wanted = wanted.where(e.c.project == project)
        return [
            EvidenceRow(
                r.id, r.digest, r.kind, Verdict(r.verdict) if r.verdict else None, msgspec.json.decode(r.statement),
                r.created_at,
            )
            for r in self._tx.execute(wanted)
        ]  # fmt: skip

    # inside

    def _note(self, project: str, by: str, kind: str, subject: str, payload: dict[str, Any], now: float) -> None:
        ledger.append(self._tx, project=project, actor=by, kind=kind, subject=subject, payload=payload, now=now)

    def _by_digest(self, project: str, digest: str) -> VersionRow:
        v = schema.version
        row = self._tx.execute(
            select(v).where(v.c.project == project, v.c.digest == digest).order_by(v.c.model, v.c.version)
        ).first()
        if row is None:
            raise Missing(
                f"no version in project {project} is the bundle {digest[:19]}...",
                fix="register it with `shipway push FOLDER`, or name the version like churn:3",
            )
        return _version(row)

    def _newest(self, project: str, model: str) -> int:
        v = schema.version
        newest: int | None = self._tx.execute(
            select(func.max(v.c.version)).where(v.c.project == project, v.c.model == model)
        ).scalar()
        return self._no_model(project, model) if newest is None else newest

    def _no_model(self, project: str, model: str) -> NoReturn:
        m = schema.model
        known = self._tx.execute(select(m.c.name).where(m.c.project == project).order_by(m.c.name)).scalars().all()
        where = "" if project == "default" else f" in project {project}"
        if not known:
            raise Missing(
                f"no model is called {model}{where}; there is none at all yet",
                fix="pack and push one: `shipway pack MODEL --name NAME --data FILE`, then `shipway push FOLDER`",
            )
        few = f"there are {_some(known)}"
        raise Missing(f"no model is called {model}{where}", fix=_suggestion(model, known) + few)

    def _moved_first(self, project: str, model: str, alias: str, row: AliasRow | None, seen: int) -> NoReturn:
        if row is None:
            said = f"{model} has no alias {alias}, and you saw revision {seen} of it"
        else:
            last = self.alias_history(project, model, alias)[0]
            saw = "when there was none" if seen == 0 else f"at revision {seen}"
            said = (
                f"alias {alias} of {model} is at revision {row.revision} (version {row.version}, moved by"
                f" {last.moved_by}), and you looked {saw}"
            )
        raise Conflict(
            said, fix=f"look at {model}@{alias} again with `shipway inspect {model}@{alias}`, then decide again"
        )


def _digest(value: str) -> None:
    digest(value)


def _suggestion(wrong: str, known: Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(wrong, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(prefix + c for c in close)}? " if close else ""


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _version(row: Row[Any]) -> VersionRow:
    return VersionRow(
        model=row.model,
        version=row.version,
        digest=row.digest,
        manifest=msgspec.json.decode(row.manifest, type=Manifest),
        created_at=row.created_at,
        created_by=row.created_by,
        project=row.project,
        archived_at=row.archived_at,
    )
