"""Our converter in double: every kind of model it reads answers as its original, on edge rows too."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from shipway import bundle, pack
from shipway.errors import Rejected
from shipway.terms import Task

TEXTS, NUMBERS = ["job", "town"], ["age", "hours", "income"]


def mixed(texts, numbers):
    return ColumnTransformer([("texts", texts, TEXTS), ("numbers", numbers, NUMBERS)])


def onehot(**options):
    return OneHotEncoder(handle_unknown="ignore", **options)


def filled():
    return make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())


def ordinal():
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)


def lower(frame):
    return frame.apply(lambda column: column.astype(str).str.lower())


def small(model, **options):
    return model(random_state=0, **options)


MIXED = {
    "one-hot, scaled, logistic": lambda: (mixed(onehot(), filled()), LogisticRegression(max_iter=500)),
    "one-hot of whole numbers": lambda: (
        ColumnTransformer([("t", onehot(), ["job", "hours"]), ("n", SimpleImputer(), ["income"])]),
        LogisticRegression(max_iter=500),
    ),
    "target encoder, logistic": lambda: (mixed(TargetEncoder(random_state=0), filled()), LogisticRegression()),
    "infrequent levels, boosting": lambda: (
        mixed(OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=50), filled()),
        small(GradientBoostingClassifier, n_estimators=10),
    ),
    "imputed text, perceptron": lambda: (
        mixed(make_pipeline(SimpleImputer(strategy="most_frequent"), onehot()), filled()),
        small(MLPClassifier, hidden_layer_sizes=(8,), max_iter=20),
    ),
    "own function, extra trees": lambda: (
        mixed(make_pipeline(FunctionTransformer(lower), onehot()), make_pipeline(SimpleImputer(), MinMaxScaler())),
        small(ExtraTreesClassifier, n_estimators=8, max_depth=6),
    ),
    "scaled forest": lambda: (mixed(onehot(), filled()), small(RandomForestClassifier, n_estimators=8, max_depth=7)),
    "ordinal, histogram boosting": lambda: (
        mixed(ordinal(), "passthrough"),
        small(HistGradientBoostingClassifier, max_iter=8),
    ),
    "categorical histogram boosting": lambda: (
        mixed(ordinal(), "passthrough"),
        small(HistGradientBoostingClassifier, max_iter=8, categorical_features=[0, 1, 3]),
    ),
    "scaled after joining, union": lambda: (
        mixed(onehot(sparse_output=False), SimpleImputer()),
        FeatureUnion([("all", MaxAbsScaler()), ("best", SelectKBest(k=3))]),
        RobustScaler(),
        LogisticRegression(max_iter=500),
    ),
    "multinomial": lambda: (mixed(onehot(), filled()), LogisticRegression(max_iter=500)),
}


@pytest.mark.parametrize("named", MIXED)
def test_a_pipeline_over_mixed_columns_is_converted_exactly(named, frame, choosing):
    model = make_pipeline(*MIXED[named]())

    won = choosing(model, frame, "third" if named == "multinomial" else "left")

    assert won.candidate.converter == "shipway, double"
    assert won.parity.largest_difference < 1e-12
    assert won.parity.labels_changed == 0
    assert won.parity.edge_rows > 50


PLAIN = {
    "logistic": (load_breast_cancer, lambda: make_pipeline(StandardScaler(), LogisticRegression())),
    "multinomial": (load_wine, lambda: make_pipeline(StandardScaler(), LogisticRegression())),
    "one against rest": (
        load_wine,
        lambda: make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)),
    ),
    "discriminant": (load_wine, LinearDiscriminantAnalysis),
    "tree": (load_wine, lambda: DecisionTreeClassifier(random_state=0)),
    "forest": (load_wine, lambda: RandomForestClassifier(8, random_state=0)),
    "boosting": (load_wine, lambda: GradientBoostingClassifier(n_estimators=6, random_state=0)),
    "exponential boosting": (
        load_breast_cancer,
        lambda: GradientBoostingClassifier(loss="exponential", n_estimators=6),
    ),
    "histogram boosting": (load_wine, lambda: HistGradientBoostingClassifier(max_iter=6)),
    "perceptron": (
        load_wine,
        lambda: make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=30, random_state=0)),
    ),
    "moved threshold": (
        load_breast_cancer,
        lambda: FixedThresholdClassifier(DecisionTreeClassifier(max_depth=3), threshold=0.9),
    ),
    "linear": (load_diabetes, LinearRegression),
    "poisson": (load_diabetes, PoissonRegressor),
    "searched": (
        load_diabetes,
        lambda: GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1, 2]}, cv=2),
    ),
    "logged target": (load_diabetes, lambda: TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1)),
    "regression tree": (load_diabetes, lambda: DecisionTreeRegressor(random_state=0)),
    "regression forest": (load_diabetes, lambda: RandomForestRegressor(8, random_state=0)),
    "regression boosting": (load_diabetes, lambda: GradientBoostingRegressor(n_estimators=8)),
    "gamma boosting": (load_diabetes, lambda: HistGradientBoostingRegressor(loss="gamma", max_iter=8)),
    "regression perceptron": (
        load_diabetes,
        lambda: make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(6,), activation="tanh", max_iter=20, random_state=0)
        ),
    ),
}


@pytest.mark.parametrize("named", PLAIN)
def test_a_model_of_numbers_is_converted_exactly(named, choosing):
    load, make = PLAIN[named]
    data = load(as_frame=True).frame

    won = choosing(make(), data, "target")

    assert won.candidate.converter == "shipway, double"
    assert won.parity.largest_difference < 1e-12
    assert won.parity.labels_changed == 0


@pytest.mark.parametrize("scale", [1e9, 1e5, 2e7])
def test_timestamps_cents_and_ids_keep_their_labels(scale, choosing):
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": scale + np.round(rng.random(400) * 7200, 2), "y": rng.random(400)})
    data["target"] = np.where((data.x * 10 % 7 < 3) ^ (data.y > 0.5), "a", "b")

    won = choosing(lightgbm.LGBMClassifier(n_estimators=10, verbose=-1, n_jobs=1, min_child_samples=2), data, "target")

    assert won.candidate.converter == "shipway, double"
    assert won.parity.labels_changed == 0


LIGHT = {
    "binary": (lambda: lightgbm.LGBMClassifier(n_estimators=8, verbose=-1, n_jobs=1), "left"),
    "multiclass": (lambda: lightgbm.LGBMClassifier(n_estimators=8, verbose=-1, n_jobs=1), "third"),
    "regression": (lambda: lightgbm.LGBMRegressor(n_estimators=8, verbose=-1, n_jobs=1), "score"),
    "tweedie": (lambda: lightgbm.LGBMRegressor(objective="tweedie", n_estimators=8, verbose=-1, n_jobs=1), "age"),
    "random forest": (
        lambda: lightgbm.LGBMClassifier(
            boosting_type="rf", subsample=0.5, subsample_freq=1, n_estimators=8, verbose=-1, n_jobs=1
        ),
        "left",
    ),
}


@pytest.mark.parametrize("named", LIGHT)
@pytest.mark.parametrize("prefer", ["onnx", "lightgbm"])
def test_lightgbm_with_categories_and_missing_cells_is_exact_both_ways(named, prefer, frame, choosing):
    make, target = LIGHT[named]
    data = frame.astype({"job": "category", "town": "category"})
    if target == "age":
        data = data.assign(score=data.age).drop(columns="age")
        target = "score"

    won = choosing(make(), data, target, prefer=prefer)

    assert won.candidate.kind == prefer
    assert won.parity.largest_difference < (1e-12 if prefer == "onnx" else 1e-300)


def test_a_bare_booster_takes_its_classes_from_the_target(frame, choosing):
    data = frame[["age", "hours", "income"]].assign(left=frame.left)
    booster = lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1},
        lightgbm.Dataset(data.drop(columns="left"), (data.left == "yes").astype(int)),
        5,
    )
    booster.fit = lambda *_: booster

    won = choosing(booster, data, "left")

    assert won.runtime.manifest.signature.classes == ("no", "yes")
    assert won.runtime.manifest.task is Task.BINARY


def test_linear_leaves_are_left_to_lightgbm_itself(choosing):
    data = load_diabetes(as_frame=True).frame

    won = choosing(lightgbm.LGBMRegressor(linear_tree=True, n_estimators=4, verbose=-1, n_jobs=1), data, "target")

    assert won.candidate.kind == "lightgbm"
    assert "linear" in won.attempts[0].detail


def test_histogram_boosting_on_pandas_categories_is_exact(frame, choosing):
    data = frame.astype({"job": "category", "town": "category"})

    won = choosing(HistGradientBoostingClassifier(max_iter=10, categorical_features="from_dtype"), data, "left")

    assert won.candidate.converter == "shipway, double"


def test_a_model_fitted_on_a_matrix_takes_columns_by_place(frame, tmp_path):
    data = frame[["age", "hours"]].assign(left=frame.left == "yes")
    model = LogisticRegression().fit(data[["age", "hours"]].to_numpy(), data["left"])

    packed = pack.pack(model, name="m", data=data, target="left", out=tmp_path / "out", now=0.0)

    assert packed.manifest.signature.classes == ("False", "True")
    assert [c.name for c in packed.manifest.signature.inputs] == ["age", "hours"]


def test_columns_chosen_by_their_type_are_read(frame, choosing):
    encoder = ColumnTransformer([
        ("texts", onehot(), make_column_selector(dtype_exclude=np.number)),
        ("numbers", filled(), make_column_selector(dtype_include=np.number)),
    ])  # fmt: skip

    won = choosing(make_pipeline(encoder, LogisticRegression(max_iter=500)), frame, "left")

    assert won.candidate.converter == "shipway, double"


def test_an_encoder_that_refuses_unseen_levels_makes_a_bundle_that_refuses_them_too(frame, packing):
    model = make_pipeline(mixed(OneHotEncoder(), filled()), LogisticRegression(max_iter=500))
    packed = packing(model, frame, "left")
    runtime = bundle.open(bundle.audit(bundle.read(packed.folder)), bundle.DEFAULT)
    row = {"job": "Cook", "town": "town 1", "age": 30, "hours": 6, "income": 1.5}

    runtime.predict(bundle.coerce(packed.manifest.signature, [row]))
    with pytest.raises(Rejected, match="'town' has a level that the model has never seen"):
        runtime.predict(bundle.coerce(packed.manifest.signature, [row | {"town": "elsewhere"}]))
    assert any("levels that training never showed" in note for note in packed.report.notes)


def test_real_mixed_data_is_converted_exactly(test_data, tmp_path):
    table = pack.read_table(test_data / "adult.csv")
    rows = table.to_pandas().drop(columns="split")
    train, held = rows[:4000], rows[4000:6000]
    texts = [c for c in train.columns[:-1] if not pd.api.types.is_numeric_dtype(train[c])]
    numbers = [c for c in train.columns[:-1] if c not in texts]
    encoder = ColumnTransformer([("texts", onehot(), texts), ("numbers", filled(), numbers)])
    model = make_pipeline(encoder, RandomForestClassifier(10, max_depth=8, random_state=0))
    model.fit(train.drop(columns="income"), train["income"])

    packed = pack.pack(model, name="adult", data=train, holdout=held, target="income", out=tmp_path / "out", now=0.0)

    assert packed.report.converter == "shipway, double"
    assert packed.manifest.parity["rows"] == 2000
    assert packed.manifest.parity["largest_difference"] < 1e-12
