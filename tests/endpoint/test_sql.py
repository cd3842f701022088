"""Endpoints change one revision at a time, each change in the ledger."""

# ruff: noqa: ARG001 - `churn` makes the endpoint that a test changes by name

import pytest
from msgspec import structs

from shipway import ledger
from shipway.endpoint import EndpointSettings
from shipway.errors import Conflict, Missing, Rejected

NOW = 1000.0


def split(endpoints, weight, **changed):
    variants = [
        endpoints.variant("default", "churn", 1, weight=10_000 - weight),
        endpoints.variant("default", "churn", 2, name="challenger", weight=weight),
    ]
    asked = {"rollout": "r1", "restart": 0, "by": "rollout", "now": NOW} | changed
    return endpoints.set_split("default", "churn", variants, **asked)


def test_a_new_endpoint_is_answered_by_its_champion_alone(churn, endpoints):
    (variant,) = churn.variants

    assert (variant.name, variant.model, variant.version, variant.weight) == ("champion", "churn", 1, 10_000)
    assert (churn.champion, churn.previous, churn.rollout, churn.revision) == (1, None, "", 1)
    assert endpoints.get("default", "churn") == churn


def test_an_endpoint_reads_back_as_it_was_written(endpoints):
    settings = EndpointSettings(sticky="header:customer", webhooks=("http://127.0.0.1/hook",), public=False)
    row = endpoints.create(
        "default", "eu", "churn", 1, settings=settings, policies={"gate": "x = 1\n"}, by="ann", now=NOW
    )

    assert endpoints.get("default", "eu") == row
    assert (row.settings, row.policies) == (settings, {"gate": "x = 1\n"})


def test_a_bundle_that_may_not_run_inline_is_isolated(endpoints):
    assert not endpoints.variant("default", "churn", 1).isolated
    assert endpoints.variant("default", "churn", 3).isolated
    assert endpoints.variant("default", "churn", 1, isolated=True).isolated


def test_an_endpoint_is_made_once(churn, endpoints):
    with pytest.raises(Conflict, match="endpoint churn exists, and churn:1 answers it"):
        endpoints.create("default", "churn", "churn", 2, by="ann", now=NOW)


def test_an_endpoint_of_a_version_that_is_not_there_is_not_made(endpoints):
    with pytest.raises(Missing, match="there is no churn:9"):
        endpoints.create("default", "churn", "churn", 9, by="ann", now=NOW)

    assert endpoints.find("default", "churn") is None


@pytest.mark.parametrize("bad", ["../x", "", "a/b", "Churn", "x" * 65, "a\n"])
def test_a_name_that_could_mean_something_else_is_rejected(endpoints, bad):
    with pytest.raises(Rejected, match=r"cannot name an? endpoint"):
        endpoints.create("default", bad, "churn", 1, by="ann", now=NOW)


def test_an_unknown_endpoint_is_answered_with_close_names(churn, endpoints):
    with pytest.raises(Missing, match="no endpoint is called chrun") as caught:
        endpoints.get("default", "chrun")

    assert "did you mean churn?" in caught.value.fix


def test_the_first_unknown_endpoint_says_how_to_begin(endpoints):
    with pytest.raises(Missing, match="there is none at all yet") as caught:
        endpoints.get("default", "churn")

    assert "shipway deploy" in caught.value.fix


def test_a_split_reaches_the_row_with_its_rollout(churn, endpoints):
    row = split(endpoints, 500)

    assert [(v.name, v.version, v.weight) for v in row.variants] == [("champion", 1, 9_500), ("challenger", 2, 500)]
    assert (row.rollout, row.restart, row.revision, row.champion) == ("r1", 0, 2, 1)
    assert endpoints.get("default", "churn") == row


def test_a_split_cannot_change_the_champion_on_the_way(churn, endpoints):
    with pytest.raises(Rejected, match="churn:2 is not the champion of churn; churn:1 is"):
        endpoints.set_split("default", "churn", [endpoints.variant("default", "churn", 2)], by="ann", now=NOW)


def test_promoting_ends_the_split_and_remembers_the_champion_before(churn, endpoints):
    split(endpoints, 500)

    row = endpoints.set_champion("default", "churn", 2, by="rollout", now=NOW, why="passed")

    assert (row.champion, row.previous, row.rollout, len(row.variants)) == (2, 1, "", 1)
    assert row.variants[0].weight == 10_000


def test_naming_the_champion_again_ends_a_split_and_keeps_the_one_before(churn, endpoints):
    endpoints.set_champion("default", "churn", 2, by="ann", now=NOW)

    row = endpoints.set_champion("default", "churn", 2, by="ann", now=NOW)

    assert (row.champion, row.previous) == (2, 1)


def test_another_model_leaves_no_champion_to_go_back_to(churn, endpoints):
    row = endpoints.set_champion("default", "churn", 2, model="fraud", by="ann", now=NOW)

    assert (row.model, row.champion, row.previous) == ("fraud", 2, None)


def test_a_change_from_an_old_revision_is_refused_and_changes_nothing(churn, endpoints):
    split(endpoints, 500)
    before = endpoints.get("default", "churn")

    with pytest.raises(Conflict, match="endpoint churn is at revision 2, and you last saw revision 1"):
        endpoints.set_champion("default", "churn", 3, by="ann", now=NOW, seen=1)

    assert endpoints.get("default", "churn") == before


def test_settings_and_policies_change_and_saying_the_same_again_does_not(churn, endpoints):
    settings = structs.replace(churn.settings, auto_promote=True)
    for _ in range(2):
        endpoints.set_settings("default", "churn", settings, by="ann", now=NOW)
        row = endpoints.set_policies("default", "churn", {"rollout": "a", "gate": "b"}, by="ann", now=NOW)

    assert (row.revision, row.settings.auto_promote, row.policies) == (3, True, {"rollout": "a", "gate": "b"})
    assert endpoints.set_policies("default", "churn", {"gate": ""}, by="ann", now=NOW).policies == {"rollout": "a"}


def test_a_policy_that_no_room_reads_is_rejected(churn, endpoints):
    with pytest.raises(Rejected, match="'rolout' is not a policy"):
        endpoints.set_policies("default", "churn", {"rolout": "x"}, by="ann", now=NOW)


def test_every_change_is_in_the_ledger(churn, endpoints, tx):
    split(endpoints, 500)
    endpoints.set_champion("default", "churn", 2, by="rollout", now=NOW)
    endpoints.set_settings("default", "churn", EndpointSettings(capture=False), by="ann", now=NOW)

    entries = ledger.entries(tx, subject="endpoint:churn")

    assert [(e.kind, e.payload["revision"]) for e in entries] == [
        ("endpoint.created", 1),
        ("endpoint.split", 2),
        ("endpoint.champion", 3),
        ("endpoint.settings", 4),
    ]
    assert ledger.verify(tx).ok
