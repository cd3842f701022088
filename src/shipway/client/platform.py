"""Every route of the control plane as a method. The command line has no other way in."""

import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self, cast
from urllib.parse import quote, urlsplit

from shipway.client.context import Context, context, installed
from shipway.client.predictor import Prediction, Predictor
from shipway.client.wire import Wire
from shipway.errors import Missing
from shipway.settings import Settings
from shipway.terms import name

Json = dict[str, Any]

_NAMED_BY = {"endpoints": "endpoint", "models": "model", "monitor": "endpoint"}
"""First part of a path -> what its second part names."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Client:
    """Speaks with one control plane as one principal. Threads may share it; close it or use it in `with`.

    Args:
        url: where the control plane is; by default what `shipway up` wrote down, or `SHIPWAY_URL`.
        token: the secret of an API token; by default likewise.
        server: where predictions are answered; by default likewise.
        timeout_s: how long to wait for one answer.
    """

    def __init__(self, url: str = "", token: str = "", *, server: str = "", timeout_s: float = 120.0) -> None:
        if not url:
            found = context(installed())
            url, token, server = found.url, token or found.token, server or found.server
        self._wire = Wire(url, token=token, timeout_s=timeout_s)
        self._server, self._token, self._timeout_s = server, token, timeout_s
        self._predictor: Predictor | None = None
        self.url = self._wire.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        self._wire.close()
        if self._predictor:
            self._predictor.close()

    def _ask(self, method: str, *path: str, json: object = None, **query: object) -> Any:  # noqa: ANN401 - whatever the route answers
        kind = _NAMED_BY.get(path[0])
        if kind and len(path) > 1:
            name(path[1], kind)
        for part in path[1:]:
            # A slash in a part would ask another route, and an empty one none at all.
            if not part or "/" in part:
                raise Missing(f"nothing here is called {part!r}", fix="look at the names with `shipway list`")
        quoted = "/".join(quote(part, safe="") for part in path)
        return self._wire.request(method, f"/v1/{quoted}", json=json, query=query).json()

    def health(self) -> Json:
        """Say that the control plane is there, and which release."""
        return cast("Json", self._ask("GET", "health"))

    # --- models ---

    def upload(self, folder: Path) -> str:
        """Send a bundle folder and return its digest. A bundle that is there already is not stored twice."""
        if not (folder / "manifest.json").is_file():
            raise Missing(f"{folder} is not a bundle: it has no manifest.json", fix="make one with `shipway pack`")
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                    tar.add(path, arcname=path.relative_to(folder).as_posix(), recursive=False, filter=_plain)
            size = packed.tell()

            def again() -> IO[bytes]:
                packed.seek(0)
                return cast("IO[bytes]", packed)

            headers = {"content-type": "application/x-tar", "content-length": str(size)}
            return str(self._wire.request("PUT", "/v1/bundles", body=again, headers=headers).json()["digest"])

    def register(self, model: str, digest: str) -> int:
        """Give an uploaded bundle the next version number of `model`; the same bundle keeps its number."""
        return int(self._ask("POST", "models", model, "versions", json={"digest": digest})["version"])

    def models(self) -> list[Json]:
        """List models with their newest version and aliases."""
        return cast("list[Json]", self._ask("GET", "models")["models"])

    def versions(self, model: str) -> list[Json]:
        """List the versions of a model, newest first."""
        return cast("list[Json]", self._ask("GET", "models", model, "versions")["versions"])

    def version(self, model: str, version: int) -> Json:
        """Return one version: manifest, evidence, aliases."""
        return cast("Json", self._ask("GET", "models", model, "versions", str(version)))

    def resolve(self, ref: str) -> Json:
        """Return the version that a reference means now: {model, version, digest}."""
        return cast("Json", self._ask("GET", "resolve", ref=ref))

    def card(self, model: str, version: int, *, form: str = "markdown") -> str:
        """Return the card of a version as `markdown` or `html`."""
        return str(self._ask("GET", "models", model, "versions", str(version), "card", form=form)["card"])

    def move_alias(self, model: str, alias: str, version: int, *, seen: int | None = None, why: str = "") -> int:
        """Point an alias at a version and return its new revision. `seen` is the revision last read, 0 for none yet."""
        body = {"version": version, "seen": seen, "why": why}
        return int(self._ask("PUT", "models", model, "aliases", alias, json=body)["revision"])

    def gate(self, model: str, version: int, *, policy: str | None = None) -> Json:
        """Judge a version from evidence, attach the verdict to its digest and return it."""
        return cast(
            "Json", self._ask("POST", "models", model, "versions", str(version), "gate", json={"policy": policy})
        )

    # --- endpoints and rollouts ---

    def endpoints(self) -> list[Json]:
        """List endpoints."""
        return cast("list[Json]", self._ask("GET", "endpoints")["endpoints"])

    def endpoint(self, name: str) -> Json:
        """Return one endpoint: champion, variants, settings, policies."""
        return cast("Json", self._ask("GET", "endpoints", name))

    def deploy(
        self,
        endpoint: str,
        ref: str,
        *,
        settings: Mapping[str, object] | None = None,
        policies: Mapping[str, str] | None = None,
    ) -> Json:
        """Make a version answer everyone at an endpoint, creating the endpoint where there is none."""
        return cast(
            "Json",
            self._ask(
                "PUT", "endpoints", endpoint, json={"ref": ref, "settings": settings or {}, "policies": policies or {}}
            ),
        )

    def set_endpoint(
        self, endpoint: str, *, settings: Mapping[str, object] | None = None, policies: Mapping[str, str] | None = None
    ) -> Json:
        """Change settings and policy files of an endpoint; what is not named stays."""
        return cast(
            "Json",
            self._ask("PATCH", "endpoints", endpoint, json={"settings": settings or {}, "policies": policies or {}}),
        )

    def rollback(self, endpoint: str) -> Json:
        """Return all traffic of an endpoint to the champion, or to the champion before it where no rollout runs."""
        return cast("Json", self._ask("POST", "endpoints", endpoint, "rollback"))

    def plan_rollout(self, endpoint: str, ref: str, *, policy: str | None = None) -> Json:
        """Say what starting a rollout would do, without starting it."""
        return cast(
            "Json", self._ask("POST", "endpoints", endpoint, "rollouts", "plan", json={"ref": ref, "policy": policy})
        )

    def start_rollout(self, endpoint: str, ref: str, *, policy: str | None = None) -> str:
        """Put a version on trial at an endpoint and return the rollout's id."""
        return str(self._ask("POST", "endpoints", endpoint, "rollouts", json={"ref": ref, "policy": policy})["id"])

    def rollouts(self, endpoint: str | None = None) -> list[Json]:
        """List rollouts, newest first."""
        return cast("list[Json]", self._ask("GET", "rollouts", endpoint=endpoint)["rollouts"])

    def rollout(self, rollout_id: str) -> Json:
        """Return the state of one rollout."""
        return cast("Json", self._ask("GET", "rollouts", rollout_id))

    def explain_rollout(self, rollout_id: str) -> Json:
        """Return why a rollout stands where it stands: every figure against its bar."""
        return cast("Json", self._ask("GET", "rollouts", rollout_id, "explain"))

    def act_on_rollout(self, rollout_id: str, action: str, *, why: str = "") -> Json:
        """Do one of approve, promote, rollback, pause and resume to a rollout and return its state after that."""
        return cast("Json", self._ask("POST", "rollouts", rollout_id, action, json={"why": why}))

    def verify_rollout(self, rollout_id: str) -> Json:
        """Recompute every decision of a rollout from the recorded counts."""
        return cast("Json", self._ask("GET", "rollouts", rollout_id, "verify"))

    # --- what happened ---

    def predict(
        self, endpoint: str, rows: Sequence[Mapping[str, Any]], *, key: str = "", deadline_ms: int | None = None
    ) -> Prediction:
        """Ask the server of this installation. See `Predictor.predict`."""
        return self.predictor().predict(endpoint, rows, key=key, deadline_ms=deadline_ms)

    def predictor(self) -> Predictor:
        """Return the connection to the server that answers predictions, asking the control plane where it is."""
        if self._predictor is None:
            server = self._server or self._beside(str(self.health()["server"]))
            self._predictor = Predictor(server, self._token, timeout_s=self._timeout_s)
        return self._predictor

    def _beside(self, server: str) -> str:
        """Return where a server is, seen from here: what another machine calls its own loopback is that machine."""
        there, control = urlsplit(server), urlsplit(self.url)
        if there.hostname not in _LOOPBACK or control.hostname in _LOOPBACK:
            return server
        host = f"[{control.hostname}]" if ":" in str(control.hostname) else control.hostname
        return f"{there.scheme}://{host}:{there.port}"

    def label(self, endpoint: str, labels: Sequence[Mapping[str, Any]]) -> int:
        """Say what turned out to be true and return how many labels were taken.

        Args:
            endpoint: whose events they are about.
            labels: each `{"event": id, "value": truth}`, or with `key` for your own key in place of `event`;
                `row` is 0 and `name` is "label" where left out.
        """
        return int(self.send_labels(endpoint, labels)["accepted"])

    def send_labels(self, endpoint: str, labels: Sequence[Mapping[str, Any]]) -> Json:
        """Do as `label` does and return {accepted, doubts}: `doubts`, if there are any, are sentences for people."""
        return cast("Json", self._ask("POST", "labels", json={"endpoint": endpoint, "labels": labels}))

    def unknown_labels(self, endpoint: str) -> Json:
        """Count labels whose event never arrived: {labels, events, oldest}."""
        return cast("Json", self._ask("GET", "labels", "unknown", endpoint=endpoint))

    def events(self, endpoint: str, *, since: float | None = None, limit: int = 100) -> list[Json]:
        """Return captured rows of an endpoint, newest first."""
        return cast("list[Json]", self._ask("GET", "events", endpoint=endpoint, since=since, limit=limit)["events"])

    def monitor(self, endpoint: str) -> Json:
        """Return what the monitor knows about an endpoint."""
        return cast("Json", self._ask("GET", "monitor", endpoint))

    def signals(self, endpoint: str | None = None, *, closed: bool = False) -> list[Json]:
        """List signals that are open, or all of them."""
        return cast("list[Json]", self._ask("GET", "signals", endpoint=endpoint, closed=str(closed).lower())["signals"])

    def explain_signal(self, signal_id: str) -> Json:
        """Return why a signal was raised and what to do about it."""
        return cast("Json", self._ask("GET", "signals", signal_id, "explain"))

    def acknowledge(self, signal_id: str) -> Json:
        """Say that someone has seen a signal."""
        return cast("Json", self._ask("POST", "signals", signal_id, "ack"))

    def mute(self, signal_id: str, *, until: float) -> Json:
        """Send no alerts for a signal until then, in Unix seconds. The signal stays."""
        return cast("Json", self._ask("POST", "signals", signal_id, "mute", json={"until": until}))

    def check_alerts(self, endpoint: str) -> Json:
        """Send a test alert through the channels of an endpoint and return what became of each."""
        return cast("Json", self._ask("POST", "endpoints", endpoint, "alert-test"))

    def jobs(self, endpoint: str | None = None) -> list[Json]:
        """List retraining jobs, newest first."""
        return cast("list[Json]", self._ask("GET", "jobs", endpoint=endpoint)["jobs"])

    def retrain(self, endpoint: str, *, why: str = "") -> str:
        """Ask for a retraining and return the job's id."""
        return str(self._ask("POST", "endpoints", endpoint, "retrain", json={"why": why})["id"])

    def approve_job(self, job_id: str) -> Json:
        """Let a proposed retraining run."""
        return cast("Json", self._ask("POST", "jobs", job_id, "approve"))

    # --- who did what, and who may ---

    def ledger(self, *, after: int = 0, limit: int = 1000, subject: str | None = None) -> list[Json]:
        """Return entries of the ledger in order."""
        return cast("list[Json]", self._ask("GET", "ledger", after=after, limit=limit, subject=subject)["entries"])

    def verify_ledger(self, *, head: str | None = None) -> Json:
        """Check the whole chain, and that it still holds a `head` noted earlier."""
        return cast("Json", self._ask("GET", "ledger", "verify", head=head))

    def tokens(self) -> list[Json]:
        """List API tokens, without their secrets."""
        return cast("list[Json]", self._ask("GET", "tokens")["tokens"])

    def issue_token(
        self, name: str, role: str, *, endpoints: Sequence[str] = (), expires_at: float | None = None
    ) -> Json:
        """Make an API token. Its `secret` is in the answer and nowhere else."""
        body = {"name": name, "role": role, "endpoints": list(endpoints), "expires_at": expires_at}
        return cast("Json", self._ask("POST", "tokens", json=body))

    def revoke_token(self, token_id: str) -> Json:
        """End a token now."""
        return cast("Json", self._ask("DELETE", "tokens", token_id))

    # --- what servers and collectors use ---

    def routes(self, *, after: int = 0, wait_s: float = 20.0) -> Json | None:
        """Return the newest route table once its epoch is above `after`, or None if that took longer than `wait_s`."""
        return cast("Json | None", self._ask("GET", "routes", after=after, wait_s=wait_s))

    def send_counts(self, report: object) -> None:
        """Push a `terms.CountsReport`."""
        self._ask("POST", "counts", json=report)

    def send_inbox(self, row: object) -> None:
        """Put down what a collector made of one segment (`lake.InboxRow`)."""
        self._ask("POST", "inbox", json=row)


def connect(settings: Settings, *, url: str = "", token: str = "") -> Client:
    """Open a client as the command line does: `url` and `token` win, then settings, then the context file."""
    found = context(settings)
    if url and url != found.url:
        found = Context(url, token, "")
    return Client(found.url, token or found.token, server=found.server)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who owned a file and when: a bundle is its bytes."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime, info.mode = 0, 0o644
    return info
