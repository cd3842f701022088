"""The laws of the registry, on SQLite."""

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipway import ledger
from shipway.errors import Conflict, Missing, Rejected
from shipway.registry import SqlRegistry
from shipway.terms import Ref, Verdict, ref

NOW = 1000.0


def move(registry, version, *, seen, alias="champion", by="ann"):
    return registry.move_alias("default", "churn", alias, version, seen=seen, by=by, why="gate passed", now=NOW)


def test_versions_of_a_model_are_numbered_from_one_without_a_gap(add):
    assert [add(seed=n) for n in range(3)] == [1, 2, 3]
    assert [add(model="fraud", seed=n) for n in range(2)] == [1, 2]


def test_the_same_bundle_keeps_its_number_and_is_written_down_once(add, tx):
    assert [add(seed=1), add(seed=2), add(seed=1)] == [1, 2, 1]
    assert len(ledger.entries(tx, kind="version.registered")) == 2


def test_a_version_reads_back_as_it_was_registered(add, registry, bundle):
    add(seed=7)
    manifest, digest = bundle(seed=7)

    row = registry.version("default", "churn", 1)

    assert (row.manifest, row.digest, row.created_by, row.created_at) == (manifest, digest, "ann", NOW)
    assert str(row) == "churn:1"


def test_projects_do_not_see_each_other(add, registry):
    add(project="default")
    add(project="other", seed=1)

    assert [m.name for m in registry.models("other")] == ["churn"]
    assert len(registry.versions("other", "churn")) == 1
    assert registry.models("third") == []


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "../etc",
        "%2e%2e",
        "%252e",
        "a\\b",
        "a\0b",
        "/abs",
        "C:x",
        "file:x",
        "-rf",
        "a\u202eb",
        "\u0441hurn",
        "x" * 300,
        "Churn",
        "a b",
        "churn\n",
    ],
)
def test_a_name_that_could_mean_something_else_is_rejected_everywhere(add, registry, bad):
    add()
    with pytest.raises(Rejected):
        add(model=bad)
    with pytest.raises(Rejected):
        add(project=bad)
    with pytest.raises(Rejected):
        move(registry, 1, alias=bad, seen=None)


def test_what_is_no_digest_is_rejected(registry, bundle):
    with pytest.raises(Rejected, match="is not a digest"):
        registry.add_version("default", bundle()[0], "sha256:../..", by="ann", now=NOW)


def test_an_alias_moves_from_the_revision_that_was_seen(add, registry):
    add(seed=1), add(seed=2)

    assert move(registry, 1, seen=0) == 1
    assert move(registry, 2, seen=1) == 2
    assert move(registry, 1, seen=None) == 3

    row = registry.alias("default", "churn", "champion")
    assert (row.version, row.revision) == (1, 3)
    assert [(m.revision, m.version) for m in registry.alias_history("default", "churn", "champion")] == [
        (3, 1),
        (2, 2),
        (1, 1),
    ]


def test_an_alias_that_moved_since_it_was_seen_does_not_move(add, registry, tx):
    add(seed=1), add(seed=2)
    move(registry, 1, seen=0, by="bob")
    entries = ledger.entries(tx)

    with pytest.raises(
        Conflict, match=r"at revision 1 \(version 1, moved by bob\), and you looked when there was none"
    ):
        move(registry, 2, seen=0)
    with pytest.raises(Conflict, match="and you saw revision 4 of it"):
        move(registry, 2, seen=4, alias="challenger")

    assert registry.alias("default", "churn", "champion").version == 1
    assert ledger.entries(tx) == entries


def test_an_alias_cannot_point_to_what_is_not_there(add, registry):
    add()

    with pytest.raises(Missing, match="churn has no version 9; it has only version 1"):
        move(registry, 9, seen=0)


PROMOTE = """
import sys
from shipway.database import Database
from shipway.errors import Conflict
from shipway.registry import SqlRegistry
database = Database.open(sys.argv[1])
with database.read() as tx:
    seen = SqlRegistry(tx).alias("default", "churn", "champion").revision
print("seen", flush=True)
sys.stdin.readline()
try:
    with database.transaction() as tx:
        asked = {"seen": seen, "by": sys.argv[2], "why": "", "now": 2.0}
        SqlRegistry(tx).move_alias("default", "churn", "champion", int(sys.argv[2]), **asked)
except Conflict as exc:
    print(exc)
    sys.exit(1)
"""


def test_of_two_promotions_from_one_revision_exactly_one_wins(database, bundle):
    with database.transaction() as tx:
        registry = SqlRegistry(tx)
        for seed in range(3):
            registry.add_version("default", *bundle(seed=seed), by="ann", now=NOW)
        move(registry, 1, seen=0)
    url = f"sqlite:///{database.path}"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTE, url, n], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in ("2", "3")
    ]
    for process in both:
        assert process.stdout.readline() == "seen\n"

    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in both]

    assert sorted(process.returncode for process in both) == [0, 1]
    assert "is at revision 2" in "".join(said)
    with database.read() as tx:
        winner = next(n for n, process in zip((2, 3), both, strict=True) if process.returncode == 0)
        assert SqlRegistry(tx).alias("default", "churn", "champion").version == winner
        assert len(ledger.entries(tx, kind="alias.moved")) == 2


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(st.tuples(st.integers(1, 3), st.integers(-1, 1)), max_size=12))
def test_only_moves_that_saw_the_newest_revision_happen_and_each_raises_it_by_one(add, registry, moves):
    for seed in range(3):
        add(seed=seed)
    before = registry.alias("default", "churn", "champion")
    revision = before.revision if before else 0
    for version, off in moves:
        try:
            moved = move(registry, version, seen=revision + off)
        except Conflict:
            assert off != 0
        else:
            assert (off, moved) == (0, revision + 1)
            revision += 1

    assert len(registry.alias_history("default", "churn", "champion")) == revision


def test_a_bare_name_is_its_champion_and_else_its_newest_version(add, registry):
    add(seed=1), add(seed=2), add(seed=3)

    assert registry.resolve("default", ref("churn")).version == 3
    move(registry, 2, seen=0)
    assert registry.resolve("default", ref("churn")).version == 2
    assert registry.resolve("default", ref("churn@champion")).version == 2
    assert registry.resolve("default", ref("churn:1")).version == 1
    assert registry.resolve("default", Ref(digest=registry.version("default", "churn", 3).digest)).version == 3


@pytest.mark.parametrize(
    ("text", "says", "helps"),
    [
        ("churm", "no model is called churm", "did you mean churn?"),
        ("churn:9", "churn has no version 9; it has versions 1 to 2", "churn:2"),
        ("churn@champoin", "churn has no alias champoin; its aliases are champion", "did you mean churn@champion?"),
        ("zebra", "no model is called zebra", "there are churn, fraud"),
        ("sha256:" + "0" * 64, "no version in project default is the bundle sha256:000000000000", "churn:3"),
    ],
)
def test_a_reference_to_nothing_says_what_there_is_instead(add, registry, text, says, helps):
    add(seed=1), add(seed=2), add(model="fraud")
    move(registry, 1, seen=0)

    with pytest.raises(Missing) as caught:
        registry.resolve("default", ref(text))

    assert says in str(caught.value)
    assert helps in caught.value.fix


def test_an_empty_registry_says_how_to_begin(registry):
    with pytest.raises(Missing, match="there is none at all yet") as caught:
        registry.resolve("default", ref("churn"))

    assert "shipway pack" in caught.value.fix


def test_models_are_listed_with_their_newest_number_and_aliases(add, registry):
    add(seed=1), add(seed=2), add(model="fraud")
    move(registry, 1, seen=0)

    assert [(m.name, m.versions, m.aliases) for m in registry.models("default")] == [
        ("churn", 2, {"champion": 1}),
        ("fraud", 1, {}),
    ]
    assert [v.version for v in registry.versions("default", "churn")] == [2, 1]


def test_evidence_hangs_on_the_digest_and_reads_back(add, registry, bundle):
    add()
    _, digest = bundle()

    key = registry.attach("default", digest, "gate", {"predicate": {"auc": 0.91}}, Verdict.PASS, NOW)
    registry.attach("default", digest, "card", {"text": "x"}, None, NOW + 1)

    (found,) = registry.evidence(digest, "gate")
    assert (found.id, found.verdict, found.statement) == (key, Verdict.PASS, {"predicate": {"auc": 0.91}})
    assert [e.kind for e in registry.evidence(digest)] == ["card", "gate"]
    assert registry.evidence("sha256:" + "0" * 64) == []


def test_attaching_the_same_statement_again_changes_nothing(add, registry, bundle, tx):
    add()
    _, digest = bundle()

    first = registry.attach("default", digest, "gate", {"a": 1, "b": 2}, Verdict.FAIL, NOW)
    again = registry.attach("default", digest, "gate", {"b": 2, "a": 1}, Verdict.FAIL, NOW + 5)

    assert first == again
    assert len(ledger.entries(tx, kind="evidence.attached")) == 1


def test_what_one_project_attests_says_nothing_in_another(add, registry, bundle):
    add(), add(project="other")
    _, digest = bundle()

    keys = {registry.attach(p, digest, "gate", {}, Verdict.PASS, NOW) for p in ("default", "other")}

    assert len(keys) == 2
    assert len(registry.evidence(digest, "gate", project="other")) == 1


def test_evidence_for_a_bundle_that_is_not_registered_is_refused(registry):
    with pytest.raises(Missing, match="is the bundle"):
        registry.attach("default", "sha256:" + "0" * 64, "gate", {}, Verdict.PASS, NOW)


def test_every_write_is_in_the_ledger(add, registry, tx, bundle):
    add()
    move(registry, 1, seen=0)
    registry.attach("default", bundle()[1], "gate", {}, Verdict.PASS, NOW)

    assert [(e.kind, e.subject, e.actor) for e in ledger.entries(tx)] == [
        ("version.registered", "model:churn:1", "ann"),
        ("alias.moved", "model:churn:1", "ann"),
        ("evidence.attached", "model:churn:1", "shipway"),
    ]
    assert ledger.verify(tx).ok
