"""The pages that show: home, endpoint, rollout, models, version, drift, alerts, ledger.

Each reads once, in one transaction, and renders; none changes anything.
"""

from starlette.responses import HTMLResponse, Response

from shipway import govern
from shipway import ledger as book
from shipway.console import charts, checks, differences, machine, read, record, sentences, trying
from shipway.console.figures import day
from shipway.console.views import Version
from shipway.console.visit import Visit
from shipway.registry import SqlRegistry
from shipway.rollout.texts import explain

PAGE = 100
"""Ledger entries on one page."""


def home(visit: Visit) -> Response:
    """Every endpoint in a line, what asks for someone, what runs, what was decided lately."""
    with visit.platform.database.read() as tx:
        found = read.endpoints(tx, visit.project, visit.now)
        servers = read.health(tx)
        lately = [record.line(entry) for entry in read.newest(tx, visit.project, limit=5)]
    asking = [sentences.asking(e, visit.now) for e in found if any(alarm.rings(visit.now) for alarm in e.alarms)]
    proposed = [(e, job) for e in found for job in e.jobs if job.state == "proposed"]
    notes = machine.notes(visit.failures, servers, visit.platform.settings.logs, visit.now)
    waits = [e for e in found if e.rollout is not None and e.rollout.state == "waiting"]
    says = sentences.home(found, len(asking) + len(proposed) + len(waits) + len(notes))
    says = sentences.unless_silent(says, machine.silent_s(servers, visit.now))
    if not found:
        return visit.render("empty.html", says=says, machine=machine.parts(visit.platform.settings, servers, visit.now))
    trying = [
        (e, checks.nearest(e.rollout), sentences.stage(e)) for e in found if e.rollout is not None and e.rollout.open
    ]
    rows = [(e, sentences.state(e), charts.row(e), differences.brief(e), differences.good(e)) for e in found]
    return visit.render(
        "home.html", says=says, notes=notes, asking=asking, proposed=proposed, trying=trying, rows=rows, lately=lately
    )


def endpoint(visit: Visit) -> Response:
    """Who answers, how much, how fast, how well; how to call it."""
    name = visit.path("name")
    with visit.platform.database.read() as tx:
        found = read.endpoint(tx, visit.project, name, visit.now)
        servers, epoch = read.health(tx), read.epoch(tx)
        here = read.versions_at(tx, visit.project, found)
        past = read.rollouts(tx, visit.project, name)
        history = [record.line(entry) for entry in read.newest(tx, visit.project, subject=f"endpoint:{name}", limit=6)]
        lines = explain(tx, found.rollout.id)["lines"] if found.rollout is not None else []
    example = trying.examples(visit, found)
    ringing = sum(alarm.rings(visit.now) for alarm in found.alarms)
    waits = found.rollout is not None and found.rollout.state == "waiting"
    proposed = [(found, job) for job in found.jobs if job.state == "proposed"]
    says = sentences.endpoint(found, checks.asked(found.rollout), checks.more(lines), ringing + waits + len(proposed))
    return visit.render(
        "endpoint.html",
        says=sentences.unless_silent(says, machine.silent_s(servers, visit.now)),
        waits=waits,
        proposed=proposed,
        asking=[sentences.asking(found, visit.now)] if ringing else [],
        unknown=differences.unknown(found, past, here[0][0]),
        endpoint=found,
        split=charts.split(found),
        obeyed=machine.obeyed(servers, epoch, visit.now),
        tiles=charts.tiles(found),
        figures=charts.traffic(found, past),
        quality=differences.quality(found),
        versions=here,
        past=past,
        history=history,
        call=charts.call(found, visit.platform.settings, example[0] if example else charts.middles(found.manifest)),
        latest=found.rollout.id if found.rollout is not None else past[0].id if past else "",
    )


def rollout(visit: Visit) -> Response:
    """The steps of a rollout, each check with its evidence, and what happened."""
    with visit.platform.database.read() as tx:
        found = read.rollout(tx, visit.project, visit.path("id"))
        at = read.endpoint(tx, visit.project, found.endpoint, visit.now)
        servers, epoch = read.health(tx), read.epoch(tx)
        entries = read.newest(tx, visit.project, subject=f"rollout:{found.id}", limit=20)
        lines = explain(tx, found.id)["lines"]
    return visit.render(
        "rollout.html",
        says=checks.says(found, at),
        rollout=found,
        endpoint=at,
        steps=checks.steps(found, visit.now),
        checks=checks.cards(found, lines),
        fair=checks.fair(found, machine.obeyed(servers, epoch, visit.now)),
        cost=checks.cost(found),
        history=[record.line(entry) for entry in entries],
        buttons=checks.buttons(found),
    )


def models(visit: Visit) -> Response:
    """Every version of every model."""
    with visit.platform.database.read() as tx:
        found = read.versions(tx, visit.project)
    by_model: dict[str, list[tuple[Version, list[tuple[str, str, str]]]]] = {}
    for version in found:
        by_model.setdefault(version.model, []).append((version, charts.metrics(version)))
    return visit.render("models.html", says=sentences.models(found), models=by_model)


def version(visit: Visit) -> Response:
    """One version: its card, where it comes from, where it runs."""
    model, number = visit.path("model"), visit.path("version")
    with visit.platform.database.read() as tx:
        found = read.version(tx, visit.project, model, number)
        card = govern.card_of(tx, SqlRegistry(tx).version(visit.project, model, number))
        parent = read.parent(tx, visit.project, found)
        children = read.children(tx, visit.project, found)
    return visit.render(
        "version.html",
        says=sentences.version(found, card.sentence),
        version=found,
        card=card,
        tiles=charts.version_tiles(found),
        made_from=charts.made_from(found, parent),
        used_by=charts.used_by(found, children),
        packages=charts.packages(found.manifest),
    )


def card(visit: Visit) -> Response:
    """The card of a version as one page that prints and travels by itself."""
    with visit.platform.database.read() as tx:
        row = SqlRegistry(tx).version(visit.project, visit.path("model"), visit.path("version"))
        made = govern.card_of(tx, row)
    response = HTMLResponse(made.to_html())
    response.headers["content-disposition"] = f'attachment; filename="{row.model}-{row.version}-card.html"'
    return response


def drift(visit: Visit) -> Response:
    """What an endpoint gets now against what its model was made for."""
    name = visit.path("endpoint")
    with visit.platform.database.read() as tx:
        found = read.endpoint(tx, visit.project, name, visit.now)
        past = read.rollouts(tx, visit.project, name, limit=1)
        over = read.alarms(tx, visit.project, name, past=True, limit=10)
    shown = differences.page(found, over, visit.now)
    return visit.render("drift.html", endpoint=found, latest=past[0].id if past else "", **shown)


def alerts(visit: Visit) -> Response:
    """Alarms that are open, looked after, or past."""
    with visit.platform.database.read() as tx:
        open_ones = read.alarms(tx, visit.project)
        past = read.alarms(tx, visit.project, past=True)
        channels = [(e.name, read.channels(e)) for e in read.rows(tx, visit.project)]
    return visit.render(
        "alerts.html",
        says=sentences.alerts(open_ones, len(past), visit.now),
        ringing=[alarm for alarm in open_ones if alarm.rings(visit.now)],
        cared=[alarm for alarm in open_ones if not alarm.rings(visit.now)],
        past=past,
        channels=[(name, hooks) for name, hooks in channels if hooks],
    )


def ledger(visit: Visit) -> Response:
    """Who decided what and when; the whole chain is recomputed at every look."""
    before = int(text) if (text := visit.query("before")).isascii() and text.isdigit() and len(text) < 16 else None
    kind, find = visit.query("kind"), visit.query("q")[:100]
    with visit.platform.database.read() as tx:
        proof = book.verify(tx)
        found = read.newest(tx, visit.project, kind=kind, find=find, before=before, limit=PAGE + 1)
    older = found[PAGE - 1].seq if len(found) > PAGE else None
    days: list[tuple[float, list[record.Line]]] = []
    for entry in found[:PAGE]:
        shown = record.line(entry)
        if not days or day(days[-1][0]) != day(shown.at):
            days.append((shown.at, []))
        days[-1][1].append(shown)
    says = sentences.ledger(proof.entries, "" if proof.ok else proof.sentence, proof.first_bad)
    return visit.render(
        "ledger.html", says=says, days=days, older=older, head=proof.head, kind=kind, find=find, warnings=proof.warnings
    )
