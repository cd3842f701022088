"""gate.toml is read strictly."""

import pytest

from shipway import gate
from shipway.errors import Rejected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[gate]\nconfidense = 0.9\n[[check]]\nkind = 'baseline'", "confidense"),
        ("[[check]]\nkind = 'baseline'\nmargin = 0.1", "baseline"),
        ("[[check]]\nkind = 'champion'", "margin"),
        ("[[check]]\nkind = 'champion'\nmargin = -0.1", "margin"),
        ("[[check]]\nkind = 'threshold'\nmetric = 'accuracy'", "at_least"),
        ("[[check]]\nkind = 'threshold'\nmetric = 'acuracy'\nat_least = 0.9", "acuracy"),
        ("[[check]]\nkind = 'rows'", "at_least"),
        ("[[check]]\nkind = 'vibes'", "vibes"),
        ("[[chekc]]\nkind = 'baseline'", "chekc"),
        ("[gate]\nconfidence = 1.5\n[[check]]\nkind = 'baseline'", "confidence"),
        ("[gate]\nreplicates = 5\n[[check]]\nkind = 'baseline'", "replicates"),
        ("check = []", "no \\[\\[check\\]\\]"),
        ("[gate", "not TOML"),
    ],
)
def test_what_a_gate_cannot_do_is_refused_by_name(text, named):
    with pytest.raises(Rejected, match=named):
        gate.parse_policy(text)


def test_the_default_asks_for_rows_a_baseline_and_the_champion():
    assert [c.kind for c in gate.default_policy().check] == ["rows", "baseline", "champion"]
