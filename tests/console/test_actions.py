"""What people order on a page: asked first, done by the rooms' own functions, written into the ledger."""

import pytest

from shipway import ledger
from shipway.console import read, session
from shipway.endpoint import SqlEndpoints
from shipway.retrain import jobs


def state(platform, key):
    with platform.database.read() as tx:
        return read.rollout(tx, "default", key).state


def kinds(platform, subject):
    with platform.database.read() as tx:
        return [(entry.kind, entry.actor) for entry in ledger.entries(tx, subject=subject)]


@pytest.mark.parametrize("action", ["pause", "promote", "rollback", "approve", "resume"])
def test_question_names_the_version_and_changes_nothing(reader, platform, story, action):
    question = reader.get(f"/rollouts/{story}/{action}")

    assert question.status_code == 200
    assert "version 2" in question.text
    assert state(platform, story) == "running"


def test_rollback_returns_all_traffic_and_says_who_and_why(reader, platform, story):
    answer = reader.post(f"/rollouts/{story}/rollback", {"why": "the team asked"})

    with platform.database.read() as tx:
        variants = SqlEndpoints(tx).get("default", "churn").variants
    assert answer.headers["location"] == f"/rollouts/{story}?done=rolled-back"
    assert [(v.version, v.weight) for v in variants] == [(1, 10_000)]
    assert ("rollout.rolled_back", "mia") in kinds(platform, f"rollout:{story}")
    assert "Version 2 of churn was rolled back" in reader.get(f"/rollouts/{story}").text


def test_promotion_makes_the_challenger_champion(reader, platform, story):
    reader.post(f"/rollouts/{story}/promote")

    with platform.database.read() as tx:
        assert SqlEndpoints(tx).get("default", "churn").champion == 2
    assert "Version 2 was promoted and answers churn." in reader.get(f"/rollouts/{story}").text


def test_pause_and_resume_change_the_state_and_the_offered_button(reader, platform, story):
    reader.post(f"/rollouts/{story}/pause")
    paused, page = state(platform, story), reader.get(f"/rollouts/{story}").text

    reader.post(f"/rollouts/{story}/resume")

    assert (paused, state(platform, story)) == ("paused", "running")
    assert "/resume" in page


def test_ended_rollout_takes_no_more_orders(reader, story):
    reader.post(f"/rollouts/{story}/rollback")

    again = reader.post(f"/rollouts/{story}/promote")

    assert again.status_code == 409
    assert "already ended" in again.text


def test_order_that_does_not_fit_the_state_is_refused_by_the_room(reader, platform, story):
    answer = reader.post(f"/rollouts/{story}/approve")

    assert answer.status_code == 409
    assert state(platform, story) == "running"


def test_unknown_action_is_missing(reader, story):
    assert reader.post(f"/rollouts/{story}/explode").status_code == 404


def test_endpoint_goes_back_to_its_champion_before(reader, platform, story):
    reader.post(f"/rollouts/{story}/promote")

    question = reader.get("/endpoints/churn/rollback").text
    reader.post("/endpoints/churn/rollback")

    with platform.database.read() as tx:
        assert SqlEndpoints(tx).get("default", "churn").champion == 1
    assert "Roll churn back to version 1?" in question


@pytest.mark.usefixtures("story")
def test_endpoint_without_an_earlier_version_says_so(reader):
    answer = reader.get("/endpoints/fraud/rollback")

    assert answer.status_code == 409
    assert "has no version to go back to" in answer.text


@pytest.mark.usefixtures("story")
def test_acknowledged_alarm_stops_asking_and_stays_listed(reader, platform):
    before = reader.get("/alerts").text.count("Acknowledge</a>")

    reader.post("/alerts/delivery-eta-0/acknowledge")

    page = reader.get("/alerts").text
    assert page.count("Acknowledge</a>") == before - 1
    assert "mia looks after it" in page
    assert ("signal.acknowledged", "mia") in kinds(platform, "signal:delivery-eta-0")


def test_another_project_sees_none_of_it(reader, platform, story):
    secret = session.key(platform.settings.home)
    reader.cookies.clear()
    reader.cookies.set(session.cookie_name(secret), session.seal(secret, session.Session("eve", "other", 1e12)))

    assert reader.get(f"/rollouts/{story}").status_code == 404
    assert reader.post(f"/rollouts/{story}/rollback").status_code == 404
    assert reader.post("/alerts/delivery-eta-0/acknowledge").status_code == 404
    assert "Nothing is deployed yet" in reader.get("/").text
    assert state(platform, story) == "running"


@pytest.mark.usefixtures("story")
def test_proposed_training_runs_once_somebody_lets_it(reader, platform):
    with platform.database.read() as tx:
        (job,) = jobs.jobs(tx, "default", "delivery-eta")
    assert f"/jobs/{job.id}/approve" in reader.get("/").text

    answer = reader.post(f"/jobs/{job.id}/approve")

    with platform.database.read() as tx:
        assert jobs.get(tx, job.id).state == "queued"
    assert answer.headers["location"] == "/endpoints/delivery-eta?done=retraining"
    assert reader.post(f"/jobs/{job.id}/approve").status_code == 409


@pytest.mark.usefixtures("story")
def test_training_by_hand_without_a_command_says_what_is_missing(reader):
    answer = reader.post("/endpoints/churn/retrain")

    assert answer.status_code == 422
    assert "has no command to train with" in answer.text


@pytest.mark.usefixtures("story")
def test_training_by_hand_is_queued_with_its_reason(reader, platform):
    with platform.database.transaction() as tx:
        policies = {"retrain": '[retrain]\ncommand = ["python", "train.py"]'}
        SqlEndpoints(tx).set_policies("default", "fraud", policies, by="mia", now=1.0)

    reader.post("/endpoints/fraud/retrain", {"why": "new season"})

    with platform.database.read() as tx:
        (job,) = jobs.jobs(tx, "default", "fraud")
    assert (job.state, job.body.why, job.body.by) == ("queued", "new season", "mia")
