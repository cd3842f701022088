import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from shipway.pack.edges import edges_of
from shipway.pack.features import Number, Table, Unsupported
from shipway.pack.layout import read_layout
from shipway.pack.original import original
from shipway.terms import Column

SPECS = (Column("job", "BYTES"), Column("town", "BYTES"), Column("age", "FP64"))
FRAME = pd.DataFrame({
    "job": ["cook", "nurse", "cook", "pilot"] * 5, "town": ["a", "b"] * 10, "age": np.arange(20.0),
})  # fmt: skip
Y = np.arange(20) % 3 > 0
LEVELS = {"job": ["cook", "nurse"], "town": ["a", "b"]}


def layout(texts, numbers="passthrough"):
    encoder = ColumnTransformer([("t", texts, ["job", "town"]), ("n", numbers, ["age"])])
    model = make_pipeline(encoder, LogisticRegression()).fit(FRAME, Y)
    return read_layout(model, SPECS, LEVELS, np.nan)


def test_levels_that_the_encoder_knows_and_the_data_lack_are_added():
    found = layout(OneHotEncoder(handle_unknown="ignore"))

    assert found.levels["job"].known == ["cook", "nurse", "pilot"]
    assert [type(f) for f in found.features] == [Table] * 5 + [Number]


def test_a_table_holds_what_the_encoder_answers_to_each_cell():
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    feature = layout(encoder).features[0]

    assert feature.by_cell.tolist()[:3] == [0.0, 1.0, 2.0]
    assert set(feature.by_cell.tolist()[3:]) == {-1.0}


def test_what_an_encoder_refuses_is_remembered():
    assert layout(OneHotEncoder()).levels["job"].refuses == {"unknown", "missing"}
    assert layout(OneHotEncoder(handle_unknown="ignore")).levels["job"].refuses == set()


def test_scaling_becomes_exact_steps():
    feature = layout(OneHotEncoder(handle_unknown="ignore"), StandardScaler()).features[-1]

    assert [operation for operation, _ in feature.steps] == ["sub", "div"]


def lengths(frame):
    return frame.apply(lambda column: column.astype(str).str.len())


def joined(frame):
    texts = pd.DataFrame(frame).astype(str)
    return pd.DataFrame({"both": (texts.iloc[:, 0] + texts.iloc[:, 1]).str.len() % 2})


@pytest.mark.parametrize(
    ("texts", "numbers", "said"),
    [
        (FunctionTransformer(lengths), "passthrough", "depends on the letters"),
        (FunctionTransformer(joined), "passthrough", "mixes columns 'job' and 'town'"),
        (
            OneHotEncoder(handle_unknown="ignore"),
            KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"),
            "KBinsDiscretizer",
        ),
        (OneHotEncoder(handle_unknown="ignore"), PCA(1), "PCA"),
    ],
)
def test_what_is_no_function_of_one_columns_level_is_refused_with_the_reason(texts, numbers, said):
    with pytest.raises(Unsupported, match=said):
        layout(texts, numbers)


def lower(frame):
    return frame.apply(lambda column: column.astype(str).str.lower())


def test_a_function_of_the_users_own_is_run_on_other_spellings_too_and_what_it_cannot_promise_is_noted():
    found = layout(make_pipeline(FunctionTransformer(lower), OneHotEncoder(handle_unknown="ignore")))

    answers = dict(zip(found.levels["job"].cells, found.features[0].by_cell.tolist(), strict=True))
    assert answers["cook"] == answers["COOK"] == answers["Cook"] == 1.0
    assert answers["nurse"] == answers[" cook"] == 0.0
    assert "any other spelling" in found.notes[0]


def test_words_inside_a_text_are_no_levels():
    encoder = ColumnTransformer([("t", TfidfVectorizer(), "job")])
    model = make_pipeline(encoder, LogisticRegression()).fit(FRAME, Y)

    with pytest.raises(Unsupported, match="TfidfVectorizer"):
        read_layout(model, SPECS, LEVELS, np.nan)


def test_a_column_of_free_text_does_no_harm_where_nothing_looks_at_it():
    encoder = ColumnTransformer([("n", StandardScaler(), ["age"])])
    model = make_pipeline(encoder, LogisticRegression()).fit(FRAME, Y)

    assert len(read_layout(model, SPECS, {"town": ["a"]}, np.nan).features) == 1


def test_thresholds_are_found_in_models_that_our_converter_does_not_read():
    encoder = ColumnTransformer([("n", StandardScaler(), ["age"])])
    votes = VotingClassifier([("tree", DecisionTreeClassifier(max_depth=1))], voting="soft")
    model = make_pipeline(encoder, votes).fit(FRAME, FRAME.age > 7)
    asked = original(model, list(FRAME.columns), target=None, labels=[], task=None).with_specs(SPECS)

    assert edges_of(asked, LEVELS)["age"][0] == pytest.approx(7.5, abs=1e-5)
