"""A card says what was measured, who said what, and what nobody knows; and nothing else."""

import json
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway import govern
from shipway.errors import Rejected
from shipway.govern import Claim
from shipway.govern.serving import Place
from shipway.ledger import Entry
from shipway.terms import Column, File, Manifest, RuntimeSpec, Signature, Task

DIGEST = "sha256:" + "9c" * 32
SECTIONS = [
    "What it is", "What it is for", "Data", "How it was made", "How good it is", "Whether conversion changed it",
    "What the gate said", "Limits", "How it does now", "Where it comes from and where it went", "Licence",
]  # fmt: skip


def bare(**changes) -> Manifest:
    """A bundle about which nothing was recorded that may be left out."""
    fields = {
        "format": 1,
        "model": "churn",
        "task": Task.BINARY,
        "signature": Signature(
            (
                Column("tenure", "FP64", integral=True, low=0.0, high=240.0),
                Column("plan", "BYTES", levels=("monthly", "yearly")),
                Column("note", "BYTES", nullable=True),
            ),
            (Column("label", "BYTES"), Column("probability", "FP64", shape=(2,))),
            ("stays", "leaves"),
        ),
        "runtime": RuntimeSpec("onnx", "model/model.onnx"),
        "files": (File("model/model.onnx", "ab" * 32, 4_300_000, "application/octet-stream"),),
        "environment": {},
        "provenance": {},
        "parity": {},
    }
    return Manifest(**(fields | changes))


def full(**changes) -> Manifest:
    """A bundle as `shipway.pack` makes it."""
    rows = {"rows": 412_306, "columns": 4, "sha256": "7b" * 32}
    known = {
        "environment": {"python": "3.11.9", "packages": [{"name": "numpy", "version": "2.2.0"}]},
        "provenance": {
            "packed_at": "2026-11-18T13:00:00Z",
            "data": rows,
            "holdout": rows,
            "git": {"commit": "3f9d2c1" + "0" * 33, "dirty": True},
            "seed": 7,
            "parent": "sha256:" + "aa" * 32,
            "command": ["shipway", "pack"],
        },
        "parity": {
            "rows": 4000, "edge_rows": 3000, "tolerance": 1e-9, "largest_difference": 0.0, "labels_changed": 0,
            "compared_with": "the original Pipeline", "converter": "shipway", "refused": ["skl2onnx: 0.93 off"],
        },
        "description": "Who will cancel within 7 days?",
    }  # fmt: skip
    return bare(**(known | changes))


def gate(**changes):
    predicate = {
        "verdict": "pass",
        "sentence": "churn passes: 96184 rows (200 asked).",
        "rows": 96_184,
        "metrics": {"auc": {"value": 0.849, "low": 0.843, "high": 0.855}},
        "champion": {"auc": {"value": 0.842, "low": 0.836, "high": 0.848}},
        "checks": [{"kind": "rows", "verdict": "pass", "sentence": "96184 rows (200 asked)"}],
        "policy_digest": "sha256:" + "0f" * 32,
        "judged_at": 1_795_182_720.0,
    }
    statement = {"predicateType": "urn:shipway:gate:v1", "predicate": predicate | changes}
    return {"id": "sha256:" + "58" * 32, "kind": "gate", "verdict": "pass", "statement": statement, "created_at": 1.0}


def texts(card, section, kind=None):
    found = next(s for s in card.sections if s.title == section)
    return " ".join(claim.text for claim in found.claims if kind in (None, claim.kind))


def test_card_has_every_section_even_where_nothing_is_known():
    card = govern.card(bare(), DIGEST, [], None, [])

    assert [section.title for section in card.sections] == SECTIONS
    assert all(section.claims for section in card.sections)


def test_what_is_not_known_is_printed_as_a_gap_that_says_what_would_fill_it():
    card = govern.card(bare(), DIGEST, [], None, [])

    gaps = [claim for claim in card.claims if claim.kind == "absent"]
    assert card.count("absent") == len(gaps) >= 12
    assert all(claim.source for claim in gaps)
    for section in SECTIONS[1:7] + SECTIONS[8:]:
        assert texts(card, section, "absent"), section


def test_what_packing_recorded_is_measured_against_the_digest():
    card = govern.card(full(), DIGEST, [], None, [])

    assert "412,306 rows of 4 columns (sha256 7b7b7b7b7b7b…)" in texts(card, "Data", "measured")
    assert "3f9d2c100000, with changes that were not committed" in texts(card, "How it was made", "measured")
    assert "no label changed" in texts(card, "Whether conversion changed it", "measured")
    assert "Refused conversion: skl2onnx: 0.93 off." in texts(card, "Whether conversion changed it", "measured")
    assert all(c.digest == DIGEST for s in card.sections[:1] for c in s.claims)


def test_performance_comes_from_the_gate_with_its_interval_and_the_champion_beside_it():
    card = govern.card(full(), DIGEST, [gate()], None, [])

    said = texts(card, "How good it is", "measured")
    assert "is 0.849 (95 % interval 0.843 to 0.855) on 96,184 rows." in said
    assert "champion of that day" in said
    assert "Passed: 96184 rows (200 asked)." in texts(card, "What the gate said", "measured")


def test_only_the_newest_verdict_of_the_gate_is_the_verdict():
    card = govern.card(full(), DIGEST, [gate(verdict="fail", sentence="churn fails."), gate()], None, [])

    assert "churn fails." in texts(card, "What the gate said")
    assert "churn passes" not in texts(card, "What the gate said")


def test_description_is_attested_by_whoever_packed_it_and_never_measured():
    claims = [c for c in govern.card(full(), DIGEST).claims if "cancel within 7 days" in c.text]

    assert [(c.kind, c.who) for c in claims] == [("attested", "whoever packed it")]


def test_attestation_names_its_person_and_time():
    said = {
        "predicateType": "urn:shipway:attestation:v1",
        "predicate": {"text": "Not for prices.", "by": "Ines", "at": 5.0},
    }

    claims = [c for c in govern.card(bare(), DIGEST, [said]).claims if c.text == "Not for prices."]

    assert [(c.kind, c.who, c.at) for c in claims] == [("attested", "Ines", 5.0)]


def test_attestation_without_a_person_is_no_claim():
    said = {"predicateType": "urn:shipway:attestation:v1", "predicate": {"text": "Trust me."}}

    assert "Trust me." not in govern.card(bare(), DIGEST, [said]).to_markdown()


def test_graph_that_was_packed_as_it_came_has_no_parity():
    card = govern.card(bare(parity={"rows": 10, "compared_with": "itself: the graph was given"}), DIGEST)

    assert texts(card, "Whether conversion changed it", "measured") == ""


def test_limits_name_ranges_levels_and_free_text():
    said = texts(govern.card(bare(), DIGEST), "Limits", "measured")

    assert "tenure from 0 to 240" in said
    assert "plan (2 values)" in said
    assert "Free text, whose values cannot be checked: note." in said
    assert "Cells may be missing in note, and in no other column." in said


def test_monitor_says_how_it_does_now_and_what_labels_have_not_shown():
    watched = {
        "sentence": "churn gets the rows it was made for",
        "window_end": 9.0,
        "open": {"drift": {"columns": ["fee"]}},
        "performance": {},
    }

    card = govern.card(bare(), DIGEST, [], watched)

    assert "Columns that have changed: fee." in texts(card, "How it does now", "measured")
    assert "too few labels" in texts(card, "How it does now", "absent")


def test_lineage_follows_the_ledger():
    entry = Entry(
        7, "default", 1.0, "mia", "version.registered", "model:churn:3", {}, "sha256:0", "sha256:" + "d6" * 32
    )

    card = govern.card(bare(), DIGEST, [], None, [entry], version=3)

    claims = [c for c in card.claims if c.text == "Registered by mia."]
    assert [(c.source, c.digest, c.at) for c in claims] == [("ledger entry 7", entry.hash, 1.0)]
    assert card.title == "churn version 3"


def test_claim_cannot_hide_what_stands_behind_it():
    with pytest.raises(Rejected):
        Claim("measured", "It is good.")
    with pytest.raises(Rejected):
        Claim("attested", "It is good.")


def test_json_holds_every_claim_and_its_format():
    card = govern.card(full(), DIGEST, [gate()], None, [], version=3)

    made = json.loads(card.to_json())

    assert made["format"] == 1
    assert (made["model"], made["version"], made["digest"]) == ("churn", 3, DIGEST)
    assert sum(len(section["claims"]) for section in made["sections"]) == len(card.claims)
    assert msgspec.json.decode(card.to_json()) == made


def test_all_three_forms_print_the_gaps():
    card = govern.card(bare(), DIGEST)

    for made in (card.to_markdown(), card.to_html(), card.to_json().decode()):
        assert made.count("absent") >= card.count("absent")


class Page(HTMLParser):
    """Collects the tags of a page and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), ""

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.tags.update(name for name, _ in attributes if name.startswith("on") or name in ("src", "href"))

    def handle_data(self, data):
        self.text += data


EVIL = st.sampled_from(
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "</style><script>x</script>",
        "</title><svg onload=x>",
        "&lt;b&gt;",
        "'\"><b>",
        "]]>",
    ]
)
ANY = st.text(max_size=60) | EVIL


@given(ANY, ANY, ANY)
def test_no_text_of_users_becomes_markup_in_the_page(description, column, sentence):
    manifest = full(description=description, signature=Signature((Column(column, "BYTES", levels=(description,)),), ()))

    made = govern.card(manifest, DIGEST, [gate(sentence=sentence)], {"sentence": sentence}).to_html()

    page = Page()
    page.feed(made)
    allowed = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "code", "ul", "li", "span"}
    assert page.tags == allowed


@given(ANY)
def test_no_text_of_users_becomes_markup_or_a_new_line_in_markdown(text):
    plain = govern.card(full(description="x"), DIGEST).to_markdown()
    made = govern.card(full(description=f"x{text}"), DIGEST).to_markdown()

    assert len(made.split("\n")) == len(plain.split("\n"))
    assert "<" not in made
    assert "](" not in made


def test_page_needs_no_other_file_and_no_script():
    made = govern.card(full(), DIGEST, [gate()]).to_html()

    assert "<script" not in made
    assert "http" not in made
    assert "@media print" in made


@pytest.mark.parametrize(
    ("places", "gap"),
    [
        (None, "It is not watched"),
        ([], "It is not watched"),
        ([Place("eu", "champion", 1.0, capture=False)], "the capture of eu is off"),
        ([Place("eu", "champion", 1.0)], "no window of it had rows enough"),
    ],
)
def test_gap_in_watching_says_why_it_is_there(places, gap):
    card = govern.card(bare(), DIGEST, places=places)

    assert gap in texts(card, "How it does now", "absent")


def test_card_says_where_the_version_runs():
    places = [Place("eu", "champion", 0.9), Place("us", "shadow"), Place("asia", "before")]

    said = texts(govern.card(bare(), DIGEST, places=places), "How it does now", "measured")

    assert "It answers 90 % of requests to endpoint eu." in said
    assert "no caller sees its answers" in said
    assert "Endpoint asia keeps it loaded" in said
    assert "It serves no endpoint." in texts(govern.card(bare(), DIGEST, places=[]), "How it does now", "measured")


def test_version_that_answers_no_more_is_not_described_as_if_it_did():
    watched = {"sentence": "churn drifted", "windows": 3, "window_end": 9.0}

    said = texts(govern.card(bare(), DIGEST, [], watched, places=[]), "How it does now", "measured")

    assert "When it was last the champion: churn drifted." in said


def test_monitor_without_a_window_is_a_gap_and_its_labels_still_count():
    watched = {"sentence": "no window yet", "windows": 0, "performance": {"sentence": "1 % of 40 are wrong"}}

    card = govern.card(bare(), DIGEST, [], watched, places=[Place("eu", "champion", 1.0)])

    assert "no window yet" not in texts(card, "How it does now")
    assert "On live traffic 1 % of 40 are wrong." in texts(card, "How it does now", "measured")


def test_training_of_the_platform_is_lineage_and_no_gap():
    payload = {"version": 3, "parent": 2, "rows": 2993, "why": "drift: fee moved."}
    entry = Entry(
        9, "default", 1.0, "retrain", "retrain.done", "endpoint:eu", payload, "sha256:0", "sha256:" + "d6" * 32
    )

    card = govern.card(bare(), DIGEST, [], None, [entry], version=3)

    section = "Where it comes from and where it went"
    said = texts(card, section, "measured")
    assert said.startswith("Trained by the platform on 2,993 labelled rows of eu while version 2 was champion")
    assert said.endswith("because of drift: fee moved.")
    assert texts(card, section, "absent") == ""


def test_interval_without_width_is_not_printed_as_certainty():
    card = govern.card(bare(metrics={"accuracy": {"value": 1.0, "low": 1.0, "high": 1.0}}), DIGEST)

    assert "no interval: all rows agree" in texts(card, "How good it is", "measured")
