import os
import pickle

import joblib
import lightgbm
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from shipway import pack
from shipway.errors import Missing, Rejected
from shipway.pack.pickles import ALLOWED

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 2

MODELS = {
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": RandomForestClassifier(3, random_state=np.random.RandomState(1)),
    "histogram boosting": HistGradientBoostingClassifier(max_iter=2),
    "perceptron": MLPClassifier((4,), max_iter=200, tol=1.0),
    "neighbours": KNeighborsClassifier(algorithm="kd_tree"),
    "support vectors": SVC(),
    "a function of numpy": make_pipeline(FunctionTransformer(np.square), LogisticRegression()),
    "lightgbm": lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1),
}


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("named", MODELS)
@pytest.mark.parametrize("save", ["pkl", "joblib", "compressed"])
def test_a_model_is_read_back_as_it_was_saved(named, save, tmp_path):
    model = MODELS[named].fit(X, Y)
    path = tmp_path / ("m.pkl" if save == "pkl" else "m.joblib")
    if save == "pkl":
        path.write_bytes(pickle.dumps(model))
    else:
        joblib.dump(model, path, compress=3 if save == "compressed" else 0)

    read = pack.load_model(path)

    np.testing.assert_array_equal(read.predict(X), model.predict(X))


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_that_calls_anything_is_refused_with_all_names_and_calls_nothing(protocol, tmp_path):
    model = LogisticRegression().fit(X, Y)
    model.first = Calls(os.mkdir, str(tmp_path / "made"))
    model.second = [Calls(exec, f"open({str(tmp_path / 'written')!r}, 'w')")]
    model.third = {"deep": Calls(np.load, "x")}
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(model, protocol))

    with pytest.raises(Rejected) as caught:
        pack.load_model(tmp_path / "m.pkl")

    for name in ("mkdir", "exec", "load"):
        assert name in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["m.pkl"]


def test_an_array_of_objects_inside_joblib_is_no_way_around(tmp_path):
    model = LogisticRegression().fit(X, Y)
    model.hidden = np.array([Calls(os.mkdir, str(tmp_path / "made")), 1], object)
    joblib.dump(model, tmp_path / "m.joblib")

    with pytest.raises(Rejected, match="mkdir"):
        pack.load_model(tmp_path / "m.joblib")

    assert not (tmp_path / "made").exists()


BEYOND = (
    "os\nsystem", "builtins\neval", "sklearn.utils.fixes\nnp", "sklearn.base\nclone", "numpy\nload",
    "sklearn.datasets._base\nload_files", "sklearn.linear_model\nLogisticRegression.fit",
    "lightgbm.basic\n_load_lib", "sklearn.externals\nnone",
)  # fmt: skip


@pytest.mark.parametrize("name", BEYOND)
def test_a_name_beyond_the_list_is_refused_whatever_package_it_pretends_to_be_from(name, tmp_path):
    (tmp_path / "m.pkl").write_bytes(b"\x80\x02c" + name.encode() + b"\n)R.")

    with pytest.raises(Rejected, match="no model here needs"):
        pack.load_model(tmp_path / "m.pkl")


def test_a_name_the_user_trusts_is_allowed_and_no_other(tmp_path):
    model = make_pipeline(FunctionTransformer(np.sinh), FunctionTransformer(np.cosh), LogisticRegression()).fit(X, Y)
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(model))

    with pytest.raises(Rejected, match=r"numpy\.cosh$"):
        pack.load_model(tmp_path / "m.pkl", trust=["numpy.sinh"])
    read = pack.load_model(tmp_path / "m.pkl", trust=["numpy.sinh", "numpy.cosh"])

    np.testing.assert_array_equal(read.predict(X), model.predict(X))


def test_a_model_of_another_scikit_learn_is_refused(tmp_path):
    model = LogisticRegression().fit(X, Y)
    data = pickle.dumps(model).replace(__import__("sklearn").__version__.encode(), b"0.1.2")
    (tmp_path / "m.pkl").write_bytes(data)

    with pytest.raises(Rejected, match=r"0\.1\.2") as caught:
        pack.load_model(tmp_path / "m.pkl")

    assert "version" in caught.value.fix


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04", b"\x80\x04\x95\xff", b"cos\nsystem\n."])
def test_a_file_that_is_no_pickle_is_refused_in_one_sentence(content, tmp_path):
    (tmp_path / "m.pkl").write_bytes(content)

    with pytest.raises(Rejected):
        pack.load_model(tmp_path / "m.pkl")


def test_lightgbm_text_is_read_and_other_text_is_not(tmp_path):
    booster = MODELS["lightgbm"].fit(X, Y).booster_
    booster.save_model(tmp_path / "m.txt")
    (tmp_path / "other.txt").write_text("tree or not")

    np.testing.assert_array_equal(pack.load_model(tmp_path / "m.txt").predict(X), booster.predict(X))
    with pytest.raises(Rejected, match="not a LightGBM model"):
        pack.load_model(tmp_path / "other.txt")


def test_a_missing_file_and_an_unknown_kind_are_said(tmp_path):
    (tmp_path / "m.h5").write_bytes(b"x")

    with pytest.raises(Missing):
        pack.load_model(tmp_path / "none.pkl")
    with pytest.raises(Rejected, match="no kind of model file"):
        pack.load_model(tmp_path / "m.h5")


def test_the_list_names_no_function_that_runs_code_or_opens_files():
    dangerous = {
        "eval",
        "exec",
        "compile",
        "open",
        "getattr",
        "__import__",
        "load",
        "loads",
        "system",
        "fromfile",
        "memmap",
    }

    assert not dangerous & {name for _, name in ALLOWED}
    assert not {"os", "posix", "subprocess", "sys", "importlib", "runpy", "shutil"} & {module for module, _ in ALLOWED}


def test_only_names_that_run_nothing_come_with_advice_to_trust_them(tmp_path):
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Calls(os.mkdir, "made")))
    (tmp_path / "own.pkl").write_bytes(pickle.dumps(FunctionTransformer(np.sinh).fit(X)))

    with pytest.raises(Rejected) as evil:
        pack.load_model(tmp_path / "evil.pkl")
    with pytest.raises(Rejected) as own:
        pack.load_model(tmp_path / "own.pkl")

    assert evil.value.fix.startswith("do not open this file")
    assert "`--trust numpy.sinh`" in own.value.fix
