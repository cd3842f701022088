"""Read pickled models without running what a pickle may ask for.

A pickle names functions and classes to call. Here a name is obeyed only if it is an estimator class that
the installed scikit-learn or LightGBM itself defines, or stands on an exact list of what estimators are
made of, each entry a pair of module and name. Everything else is replaced by an inert stand-in, so that one
reading finds all refused names; then nothing is returned. A name the user has looked at may be trusted.

This decides what may be called, not what the numbers inside may do: a model file from a stranger belongs
in an isolated container even so. What is converted is checked again (`shipway.pack.forest`).
"""

import io
import pickle
import re
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

from shipway.errors import Missing, Rejected, Unavailable
from shipway.pack.onnxfile import read_graph

_DEFINES = {"sklearn": "sklearn.base BaseEstimator", "lightgbm": ""}

_PARTS = """
builtins slice set frozenset bytearray complex list dict tuple int float str bool bytes object
collections OrderedDict defaultdict
copyreg _reconstructor
_codecs encode
functools partial
numpy dtype ndarray mean median log log1p log2 log10 exp expm1 sqrt square abs absolute cbrt sin cos tan tanh
numpy bool bool_ float64 float32 int64 int32 str_
numpy.core.multiarray _reconstruct scalar
numpy._core.multiarray _reconstruct scalar
numpy._core.numeric _frombuffer
numpy.core.numeric _frombuffer
numpy.ma MaskedArray
numpy.ma.core MaskedArray _mareconstruct
numpy.random._mt19937 MT19937
numpy.random._pcg64 PCG64
numpy.random._pickle __bit_generator_ctor __generator_ctor __randomstate_ctor
numpy.random.bit_generator SeedSequence __pyx_unpickle_SeedSequence
scipy._lib.array_api_compat.numpy._aliases asarray
scipy.interpolate._bsplines BSpline
scipy.sparse._csr csr_matrix csr_array
scipy.sparse._csc csc_matrix csc_array
joblib.numpy_pickle NumpyArrayWrapper
lightgbm.basic Booster
lightgbm.sklearn _LGBMLabelEncoder
sklearn._loss._loss CyAbsoluteError CyExponentialLoss CyHalfBinomialLoss CyHalfGammaLoss CyHalfMultinomialLoss
sklearn._loss._loss CyHalfPoissonLoss CyHalfSquaredError CyHalfTweedieLoss CyHalfTweedieLossIdentity CyHuberLoss
sklearn._loss._loss CyPinballLoss __pyx_unpickle_CyHalfMultinomialLoss
sklearn._loss.link HalfLogitLink IdentityLink Interval LogLink LogitLink MultinomialLogit
sklearn._loss.loss AbsoluteError ExponentialLoss HalfBinomialLoss HalfGammaLoss HalfMultinomialLoss HalfPoissonLoss
sklearn._loss.loss HalfSquaredError HalfTweedieLoss HalfTweedieLossIdentity HuberLoss PinballLoss
sklearn.calibration _CalibratedClassifier _SigmoidCalibration
sklearn.cluster._birch _CFNode _CFSubcluster
sklearn.cluster._bisect_k_means _BisectingTree
sklearn.cluster._kmeans _kmeans_single_lloyd
sklearn.ensemble._hist_gradient_boosting.predictor TreePredictor
sklearn.feature_selection._mutual_info mutual_info_classif mutual_info_regression
sklearn.feature_selection._univariate_selection chi2 f_classif f_regression r_regression
sklearn.gaussian_process.kernels CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation Matern
sklearn.gaussian_process.kernels PairwiseKernel Product RBF RationalQuadratic Sum WhiteKernel
sklearn.linear_model._sgd_fast EpsilonInsensitive Hinge ModifiedHuber SquaredEpsilonInsensitive SquaredHinge
sklearn.metrics._classification accuracy_score balanced_accuracy_score f1_score log_loss
sklearn.metrics._dist_metrics CanberraDistance64 ChebyshevDistance64 EuclideanDistance64 HammingDistance64
sklearn.metrics._dist_metrics ManhattanDistance64 MinkowskiDistance64 newObj
sklearn.metrics._ranking average_precision_score roc_auc_score
sklearn.metrics._regression mean_absolute_error mean_squared_error r2_score root_mean_squared_error
sklearn.metrics._scorer _CurveScorer _PassthroughScorer _Scorer
sklearn.model_selection._split GroupKFold KFold RepeatedKFold RepeatedStratifiedKFold ShuffleSplit
sklearn.model_selection._split StratifiedKFold StratifiedShuffleSplit TimeSeriesSplit
sklearn.neighbors._ball_tree BallTree newObj
sklearn.neighbors._kd_tree KDTree newObj
sklearn.neural_network._stochastic_optimizers AdamOptimizer SGDOptimizer
sklearn.tree._tree Tree
sklearn.utils._bunch Bunch
sklearn.utils._metadata_requests MetadataRequest MethodMetadataRequest
sklearn.utils.validation check_array
"""
_RUNS = frozenset(("importlib", "nt", "os", "posix", "pty", "runpy", "shutil", "socket", "subprocess", "sys"))
_CALLS = frozenset(f"builtins.{name}" for name in ("__import__", "compile", "eval", "exec", "getattr", "open"))
"""Modules and names that no estimator refers to and every exploit does."""

ALLOWED = frozenset((line.split()[0], name) for line in _PARTS.strip().splitlines() for name in line.split()[1:])
"""(module, name) of what estimators are made of."""


def load_model(path: Path | str, trust: Collection[str] = ()) -> Any:  # noqa: ANN401 - any model
    """Read a trained model from a file.

    Args:
        path: `.onnx`, LightGBM's text (`.txt`, `.lgb`), or a pickle (`.pkl`, `.pickle`, `.joblib`).
        trust: names beyond the list that a pickle may use, written `module.name`; you have looked at them.

    Raises:
        Missing: there is no such file.
        Rejected: the file is of another kind, or a pickle that asks for names not allowed; all are named at once.
    """
    path = Path(path)
    if not path.is_file():
        raise Missing(f"there is no model file {path}", fix="check the path; it is read from the current folder")
    if path.stat().st_size == 0:
        raise Rejected(f"{path} is empty (0 bytes)", fix="save the model again")
    match path.suffix.lower():
        case ".onnx":
            return read_graph(path)
        case ".txt" | ".lgb":
            return _booster(path)
        case ".pkl" | ".pickle":
            return _pickled(path, trust)
        case ".joblib":
            return _joblibbed(path, trust)
        case _:
            raise Rejected(
                f"{path} is no kind of model file known here",
                fix="give a file that ends in .onnx, .pkl, .joblib, or .txt (LightGBM)",
            )


def _booster(path: Path) -> Any:  # noqa: ANN401 - a Booster
    try:
        import lightgbm  # noqa: PLC0415 - an extra, needed for its own files alone
    except ImportError as exc:
        raise Unavailable("LightGBM is not installed", fix="pip install 'shipway[lightgbm]'") from exc
    head = path.read_bytes()[:5]
    if head != b"tree\n":
        raise Rejected(f"{path} is not a LightGBM model", fix="save it with Booster.save_model")
    try:
        return lightgbm.Booster(model_file=str(path))
    except lightgbm.basic.LightGBMError as exc:
        raise Rejected(f"LightGBM cannot read {path}: {exc}", fix="save it with Booster.save_model") from exc


class _Inert:
    """Takes the place of whatever a pickle was not allowed to name; does nothing, whatever is done to it."""

    def __new__(cls, *arguments: Any, **named: Any) -> Self:  # noqa: ANN401, ARG004 - swallows everything
        return object.__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - swallows everything
        pass

    def __call__(self, *arguments: Any, **named: Any) -> "_Inert":  # noqa: ANN401, ARG002 - swallows everything
        return self

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401 - swallows everything
        pass

    def __setitem__(self, key: Any, value: Any) -> None:  # noqa: ANN401 - swallows everything
        pass

    def append(self, value: Any) -> None:  # noqa: ANN401 - swallows everything
        """Do nothing."""

    def extend(self, values: Any) -> None:  # noqa: ANN401 - swallows everything
        """Do nothing."""


class _Gate:
    """Decides which names a pickle may use, and remembers the others."""

    def __init__(self, trust: Collection[str]) -> None:
        self.trust = frozenset(trust)
        self.refused: set[str] = set()

    def find(self, module: str, name: str, real: Any) -> Any:  # noqa: ANN401 - a class or function
        """Return what is named if it is allowed, else a stand-in."""
        if (module, name) in ALLOWED or f"{module}.{name}" in self.trust:
            return real(module, name)
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and module.split(".", maxsplit=1)[0] in _DEFINES:
            found = self._estimator(module, name, real)
            if found is not None:
                return found
        self.refused.add(f"{module}.{name}")
        return _Inert

    def _estimator(self, module: str, name: str, real: Any) -> Any:  # noqa: ANN401 - a class or None
        from sklearn.base import BaseEstimator  # noqa: PLC0415 - an extra, needed for its own models alone

        try:
            found = real(module, name)
        except (ImportError, AttributeError):
            return None
        own = isinstance(found, type) and issubclass(found, BaseEstimator)
        return found if own and found.__module__ == module and found.__qualname__ == name else None


class _Unpickler(pickle.Unpickler):
    """The standard unpickler behind a gate."""

    def __init__(self, stream: Any, gate: _Gate) -> None:  # noqa: ANN401 - a file
        super().__init__(stream)
        self._gate = gate

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - a class or function
        """Resolve one name of the pickle."""
        return self._gate.find(module, name, super().find_class)


def _pickled(path: Path, trust: Collection[str]) -> Any:  # noqa: ANN401 - any model
    gate = _Gate(trust)
    with path.open("rb") as stream:
        if stream.read(2)[:1] != b"\x80":
            raise Rejected(
                f"{path} is not a pickle of protocol 2 or newer", fix="save it with pickle.dump or joblib.dump"
            )
        stream.seek(0)
        return _read(path, gate, lambda: _Unpickler(io.BufferedReader(stream), gate).load())


def _joblibbed(path: Path, trust: Collection[str]) -> Any:  # noqa: ANN401 - any model
    try:
        import joblib  # noqa: PLC0415 - an extra, needed for its own files alone
        from joblib import numpy_pickle  # noqa: PLC0415
        from joblib.numpy_pickle_utils import _validate_fileobject_and_memmap  # noqa: PLC0415
    except ImportError as exc:
        raise Unavailable("joblib cannot be loaded here", fix="pip install 'shipway[sklearn]'") from exc
    release = tuple(int(part) for part in re.findall(r"\d+", joblib.__version__)[:2])
    if release < (1, 6):
        raise Rejected(
            f"joblib {joblib.__version__} reads arrays of objects past any list of allowed names",
            fix="pip install 'joblib>=1.6'",
        )
    gate = _Gate(trust)

    class Reader(numpy_pickle.NumpyUnpickler):  # type: ignore[misc]
        """joblib's own reader behind a gate."""

        def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - a class or function
            return gate.find(module, name, super().find_class)

    def load() -> Any:  # noqa: ANN401 - any model
        with path.open("rb") as stream, _validate_fileobject_and_memmap(stream, str(path), None) as (opened, _):
            return Reader(str(path), opened, ensure_native_byte_order=True, mmap_mode=None).load()

    return _read(path, gate, load)


def _advice(names: list[str]) -> str:
    """Say what to do about refused names; a name that runs commands has no business in a model."""
    if any(name in _CALLS or name.split(".", maxsplit=1)[0] in _RUNS for name in names):
        return "do not open this file: it would run code of its maker on this machine"
    allowing = " ".join(f"--trust {name}" for name in names[:3])
    return f"if you know each of them, allow it with `{allowing}`; else do not open this file"


def _read(path: Path, gate: _Gate, load: Any) -> Any:  # noqa: ANN401 - a callable, any model
    failure: Exception | None = None
    model: Any = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", "Trying to unpickle estimator")
            model = load()
    except Exception as exc:  # noqa: BLE001 - a damaged or hostile pickle raises anything
        failure = exc
    if gate.refused:
        names = sorted(gate.refused)
        listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise Rejected(f"{path} asks for {len(names)} name(s) that no model here needs: {listed}", fix=_advice(names))
    if failure is not None:
        reason = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
        fix = "install the version it was saved with, or train again" if "version" in reason else "save the model again"
        raise Rejected(f"{path} cannot be read: {reason[:300]}", fix=fix) from failure
    return model
