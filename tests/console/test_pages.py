"""Every page of a full and of an empty installation, without a browser."""

import re
from html.parser import HTMLParser

import pytest
from sqlalchemy import delete, update

from shipway.database import schema
from shipway.endpoint import SqlEndpoints
from shipway.registry import SqlRegistry

NOW = 1_795_183_800.0

PAGES = [
    "/", "/endpoints/churn", "/endpoints/delivery-eta", "/endpoints/fraud", "/endpoints/churn/try", "/rollouts/churn-1",
    "/models", "/models/churn/2", "/models/churn/3", "/drift/delivery-eta", "/drift/churn", "/drift/fraud",
    "/alerts", "/ledger",
]  # fmt: skip
VOID = {"meta", "link", "input", "br", "path", "rect", "line", "circle"}


class Tags(HTMLParser):
    """Checks that tags close in order, and notes what the page's policy would refuse."""

    def __init__(self):
        super().__init__()
        self.open, self.faults, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        names = {name for name, _ in attributes}
        self.faults += [f"inline {name} on {tag}" for name in names if name == "style" or name.startswith("on")]
        if tag == "script" and "src" not in names:
            self.faults.append("inline script")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"stray </{tag}>")

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("path", PAGES)
def test_page_opens_with_one_sentence_and_is_well_formed_without_inline_code(reader, path):
    page = reader.get(path)

    tags = Tags()
    tags.feed(page.text)
    assert page.status_code == 200
    assert page.text.count("<h1>") == 1
    assert (tags.faults, tags.open) == ([], [])
    assert not {"None", "nan", "Infinity"} & set(" ".join(tags.text).split())


@pytest.mark.parametrize("path", ["/", "/models", "/alerts", "/ledger"])
def test_page_of_an_empty_installation_says_what_will_fill_it(reader, path):
    page = reader.get(path)

    assert page.status_code == 200
    assert 'class="empty"' in page.text


@pytest.mark.parametrize("path", ["/endpoints/nope", "/rollouts/nope", "/models/nope/1", "/drift/nope"])
def test_unknown_name_is_answered_with_a_sentence_and_a_fix(reader, path):
    page = reader.get(path)

    assert page.status_code == 404
    assert 'class="fix"' in page.text
    assert "Traceback" not in page.text


@pytest.mark.usefixtures("story")
def test_home_names_the_healthy_the_troubled_and_the_running_rollout(reader):
    page = reader.get("/").text

    assert "Churn is healthy. Delivery-eta has become worse. Lead-score has gone silent." in page
    assert "One rollout is running: churn, version 2 on 10 %." in page


@pytest.mark.usefixtures("story")
def test_endpoint_says_who_answers_how_much_and_what_the_trial_still_needs(reader):
    page = reader.get("/endpoints/churn").text.replace("\N{NO-BREAK SPACE}", " ")

    assert "Version 1 answers 90 % of requests; version 2 is being tried on 10 % and needs about " in page
    assert "more requests.</h1>" in page


@pytest.mark.usefixtures("story")
def test_charts_carry_their_numbers_as_a_table(reader):
    for path in ("/endpoints/churn", "/rollouts/churn-1", "/drift/delivery-eta"):
        page = reader.get(path).text
        plots = page.count('<svg class="plot"')

        assert plots > 1
        assert page.count('<details class="data">') == plots


@pytest.mark.usefixtures("story")
def test_fragment_is_the_main_part_of_the_same_page(reader):
    whole = reader.get("/endpoints/churn").text
    part = reader.get("/endpoints/churn", headers={"shipway-fragment": "1"}).text

    inner = part.strip().removeprefix('<main id="main">').removesuffix("</main>").strip()
    assert not part.lstrip().startswith("<!doctype")
    assert inner in whole


@pytest.mark.usefixtures("story")
def test_ledger_pages_hold_every_entry_once(reader, platform):
    with platform.database.read() as tx:
        wanted = tx.exec_driver_sql("select seq from ledger order by seq desc").scalars().all()

    page = reader.get("/ledger").text

    assert [n for n in wanted if f"#{n} <" not in page] == []


def test_edited_ledger_is_called_broken_with_its_first_bad_entry(reader, platform, token):  # noqa: ARG001
    with platform.database.transaction() as tx:
        for (name,) in tx.exec_driver_sql("select name from sqlite_master where type = 'trigger'").all():
            tx.exec_driver_sql(f"drop trigger {name}")
        tx.execute(update(schema.ledger).where(schema.ledger.c.seq == 1).values(actor="nobody"))

    assert "The chain is broken at entry 1" in reader.get("/ledger").text


@pytest.mark.usefixtures("story")
def test_text_of_users_never_becomes_markup(reader, platform, make_manifest):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    with platform.database.transaction() as tx:
        manifest = make_manifest("churn", 0.5, description=evil)
        SqlRegistry(tx).add_version("default", manifest, "sha256:" + "e" * 64, by=evil, now=1.0)
        tx.execute(
            update(schema.signal)
            .where(schema.signal.c.id == "lead-quiet")
            .values(acknowledged_by=evil, body=schema.signal.c.body.op("||")(""))
        )

    for path in ("/models", "/models/churn/4", "/ledger", "/alerts", f"/ledger?q={evil}&kind={evil}"):
        page = reader.get(path).text
        assert "<script>alert" not in page
        assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in reader.get("/models/churn/4").text


@pytest.mark.usefixtures("story")
def test_card_downloads_as_one_page_that_needs_nothing_else(reader):
    answer = reader.get("/models/churn/2/card.html")

    assert answer.headers["content-disposition"] == 'attachment; filename="churn-2-card.html"'
    assert "http" not in answer.text.replace("https://in-toto.io", "")
    assert "Accuracy is 0.849 (95 % interval 0.843 to 0.855)" in answer.text


@pytest.mark.usefixtures("story")
def test_home_and_endpoint_agree_on_whether_somebody_is_asked(reader):
    home, troubled = reader.get("/").text, reader.get("/endpoints/delivery-eta").text

    assert "Nothing is asked of you" not in home + troubled
    assert home.count("for you below") == troubled.count("for you below") == 1


@pytest.mark.usefixtures("story")
def test_failing_step_of_the_control_plane_is_shown_until_it_succeeds(app, reader):
    class Clockwork:
        failures = {"commit captures": "OSError: No space left on device"}  # noqa: RUF012

    app.state.clockwork = Clockwork()
    failing = reader.get("/").text
    Clockwork.failures = {}

    assert "The step &#39;commit captures&#39; of the control plane fails:" in failing
    assert "No space left on device" in failing
    assert "fails:" not in reader.get("/").text


@pytest.mark.usefixtures("story")
def test_silent_server_is_shown_with_the_age_of_its_last_word(reader, platform):
    assert "has been silent" not in reader.get("/").text

    with platform.database.transaction() as tx:
        tx.execute(update(schema.server).values(seen_at=schema.server.c.seen_at - 300))

    page = reader.get("/").text
    assert "Server local has been silent." in page
    assert "The newest figures are 5 min old" in page
    for path in ("/", "/endpoints/churn"):
        title = re.search(r"<h1>(.*?)</h1>", reader.get(path).text)[1]
        assert title == "No server has reported for 5 min."


@pytest.mark.usefixtures("story")
def test_alarms_say_where_they_go_by_settings_and_by_policy(reader, platform):
    hook = 'kind = "webhook"\nurl = "http://127.0.0.1:9/hook"'
    with platform.database.transaction() as tx:
        policies = {"monitor": f"[[alert]]\n{hook}\n"}
        SqlEndpoints(tx).set_policies("default", "churn", policies, by="mia", now=NOW)

    assert "webhook http://127.0.0.1:9/hook" in reader.get("/alerts").text


@pytest.mark.usefixtures("story")
def test_change_that_is_over_is_still_shown_with_its_columns(reader, platform):
    with platform.database.transaction() as tx:
        tx.execute(update(schema.signal).where(schema.signal.c.endpoint == "delivery-eta").values(closed_at=NOW))
        tx.execute(delete(schema.monitor_state).where(schema.monitor_state.c.endpoint == "delivery-eta"))

    page = reader.get("/drift/delivery-eta").text
    assert "Version 1 of delivery-eta has not been compared with its reference yet." in page
    assert "The last change, which is over" in page
    assert page.count("of rows moved") == 2
