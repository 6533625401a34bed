"""Models that a user trained: scikit-learn (skops, joblib) and ONNX files, asked in one way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from turnlab.custom.files import MODELS, PICKLES, require_ending, trusted
from turnlab.errors import InvalidParams, MissingModel, ModuleFailed
from turnlab.packaged import installed

_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says: a label, a number or an array, and how sure it is of each label."""

    value: Any
    confidences: dict[str, float] = field(default_factory=dict)


class Predictor(Protocol):
    """A loaded model."""

    def predict(self, value: Any) -> Prediction:
        """What it says of one example: text, numbers, or (ONNX) arrays by input name."""
        ...


def missing_library(model: str) -> list[str]:
    """What must be installed for a model file of this ending."""
    names = {".onnx": ("onnxruntime",), ".skops": ("skops",)}
    needed = names.get(Path(model).suffix.lower(), ("joblib", "sklearn"))
    absent = [name for name in needed if not installed(name)]
    return [f"{name} is not installed: pip install 'turnlab[ml]'." for name in absent]


def load_predictor(path: Path, labels: list[str]) -> Predictor:
    """The model at `path`, which has been checked (`find_file`).

    Raises MissingModel if its library is absent or it cannot be read, InvalidParams if it holds
    types that run code and lies in no trusted folder, or is no model by its ending.
    """
    require_ending(path, MODELS)
    if missing := missing_library(path.name):
        raise MissingModel(" ".join(missing))
    try:
        if path.suffix.lower() == ".onnx":
            return _Onnx(path, labels)
        return _Sklearn(_skops(path) if path.suffix.lower() == ".skops" else _pickled(path))
    except (InvalidParams, MissingModel):
        raise
    except Exception as error:
        raise MissingModel(f"{path.name} cannot be loaded: {error!r:.500}.") from error


def _skops(path: Path) -> Any:
    import skops.io

    unknown = skops.io.get_untrusted_types(file=path)
    if unknown and not trusted(path):
        raise InvalidParams(
            f"{path.name} holds types that skops does not vouch for ({', '.join(unknown)[:300]}); "
            f"set TURNLAB_CODE to its folder if you do ({path.parent})."
        )
    return skops.io.load(path, trusted=unknown)


def _pickled(path: Path) -> Any:
    import joblib

    require_ending(path, PICKLES)
    return joblib.load(path)


class _Sklearn:
    def __init__(self, model: Any) -> None:
        if not hasattr(model, "predict"):
            raise MissingModel(f"It holds a {type(model).__name__}, which cannot predict.")
        self._model = model

    def predict(self, value: Any) -> Prediction:
        rows = [value] if isinstance(value, str) else np.atleast_2d(np.asarray(value))
        said = self._model.predict(rows)[0]
        if not hasattr(self._model, "predict_proba"):
            return Prediction(value=said)
        sure = self._model.predict_proba(rows)[0]
        names = (str(label) for label in self._model.classes_)
        return Prediction(value=said, confidences=dict(zip(names, map(float, sure), strict=True)))


class _Onnx:
    def __init__(self, path: Path, labels: list[str]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {each.name: each for each in self._session.get_inputs()}
        self._labels = labels

    def predict(self, value: Any) -> Prediction:
        given = value if isinstance(value, dict) else {next(iter(self._inputs)): value}
        if set(given) != set(self._inputs):
            raise ModuleFailed(
                f"The model takes {', '.join(self._inputs)}; give it a dict of these, not "
                f"{', '.join(map(str, given))}."
            )
        feed = {name: _fitted(each, self._inputs[name]) for name, each in given.items()}
        return self._read(self._session.run(None, feed))

    def _read(self, outputs: list[Any]) -> Prediction:
        first = outputs[0]
        if len(outputs) > 1 and isinstance(outputs[1], list) and len(outputs[1]) == 1:
            # What converters from scikit-learn write: the label, then confidences by label.
            sure = {str(label): float(each) for label, each in outputs[1][0].items()}
            return Prediction(value=_single(first), confidences=sure)
        if self._labels:
            return self._named(np.asarray(first).ravel())
        return Prediction(value=_single(first))

    def _named(self, scores: Any) -> Prediction:
        if len(scores) != len(self._labels):
            raise ModuleFailed(
                f"The model gives {len(scores)} numbers for {len(self._labels)} labels; give one "
                "label for each."
            )
        sure = dict(zip(self._labels, map(float, scores), strict=True))
        return Prediction(value=self._labels[int(np.argmax(scores))], confidences=sure)


def _fitted(value: Any, wanted: Any) -> Any:
    """`value` in the type that an input wants, with leading dimensions of 1 up to its rank."""
    dtype = _DTYPES.get(wanted.type)
    if dtype is None:
        raise ModuleFailed(f"The model's input {wanted.name} is of {wanted.type}; give tensors.")
    array = np.asarray(value, dtype=dtype)
    return array.reshape((1,) * (len(wanted.shape) - array.ndim) + array.shape)


def _single(output: Any) -> Any:
    """The only element of an array, or the array."""
    array = np.asarray(output)
    return array.reshape(-1)[0] if array.size == 1 else array
