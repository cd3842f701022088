"""Bring a bundle to where it may be deployed: uploaded, registered, judged. Shared by deploy, push and rollout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shipway.cli.frame import Session
from shipway.cli.subject import find_version, is_folder
from shipway.errors import Missing

CODES = {"pass": 0, "fail": 1, "undecided": 4}
"""Exit status by verdict."""


def pushed(session: Session, folder: Path) -> dict[str, Any]:
    """Upload and register a bundle folder; return model, version, digest and the gate's verdict so far."""
    from shipway import bundle

    read = bundle.read(folder)
    bundle.audit(read)
    with session.progress("uploading"):
        digest = session.client.upload(folder)
    return session.client.version(read.manifest.model, session.client.register(read.manifest.model, digest))


def registered(session: Session, word: str) -> dict[str, Any]:
    """Return the version that a reference means; a bundle folder is uploaded and registered first."""
    if not is_folder(word):
        return find_version(session, word)
    version = pushed(session, Path(word))
    session.say(f"registered  {version['model']}:{version['version']}  {version['digest']}")
    return version


def judged(
    session: Session,
    version: Mapping[str, Any],
    endpoint: str,
    settings: Mapping[str, Any],
    policies: Mapping[str, str],
) -> dict[str, Any] | None:
    """Judge a version that has not passed yet, where the endpoint wants that; return the judgement, None if not asked.

    Args:
        session: who asks.
        version: its row.
        endpoint: where it should go; its own settings and gate policy hold where the next two name none.
        settings: about to be set.
        policies: about to be set.
    """
    try:
        there = session.client.endpoint(endpoint)
    except Missing:
        there = {"settings": {}, "policies": {}}
    required = {"require_gate": True, **there["settings"], **settings}["require_gate"]
    if version["gate"] == "pass" or not required:
        return None
    policy = {**there["policies"], **policies}.get("gate")
    with session.progress("judging"):
        judgement = session.client.gate(version["model"], version["version"], policy=policy)
    session.say(f"gate        {judgement['verdict']}: {judgement['sentence']}")
    return judgement
