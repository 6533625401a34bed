"""A graph of convolutions in the ONNX format, so that onnxruntime runs it; needs no ONNX package.

The format is protocol buffers; field numbers are those of onnx.proto (ONNX IR version 8, operator
set 13).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7
"""AttributeProto.AttributeType; 1 is also TensorProto.FLOAT."""


class Graph:
    """Nodes in order; each method adds one and gives the name of what it makes."""

    def __init__(self, name: str, shape: Sequence[int]) -> None:
        self._name = name
        self._nodes: list[bytes] = []
        self._weights: list[bytes] = []
        self._input = _message(11, _value("input", shape))

    def conv(
        self, x: str, weight: NDArray[Any], bias: NDArray[Any], *, stride: int = 1, groups: int = 1
    ) -> str:
        """A 2-D convolution with padding as TensorFlow's SAME."""
        attributes = (
            _attribute("strides", (stride, stride)),
            _attribute("group", groups),
            _attribute("auto_pad", "SAME_UPPER"),
        )
        return self._node("Conv", x, self._weight(weight), self._weight(bias), *attributes)

    def relu6(self, x: str) -> str:
        """Values cut to 0..6."""
        low, high = (self._weight(np.array(v, dtype=np.float32)) for v in (0, 6))
        return self._node("Clip", x, low, high)

    def add(self, x: str, y: str) -> str:
        """The sum."""
        return self._node("Add", x, y)

    def mean(self, x: str) -> str:
        """The mean of each channel, shape (1, channels)."""
        return self._node("Flatten", self._node("GlobalAveragePool", x))

    def dense(self, x: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        """A fully connected layer."""
        weights = self._weight(weight), self._weight(bias)
        return self._node("Gemm", x, *weights, _attribute("transB", 1))

    def softmax(self, x: str) -> str:
        """Probabilities."""
        return self._node("Softmax", x)

    def model(self, output: str, shape: Sequence[int]) -> bytes:
        """The whole, as a file would hold it."""
        ports = self._input, _message(12, _value(output, shape))
        graph = b"".join([*self._nodes, _text(2, self._name), *self._weights, *ports])
        return _number(1, 8) + _message(8, _number(2, 13)) + _message(7, graph)

    def _node(self, operator: str, *parts: str | bytes) -> str:
        """Strings are inputs, bytes are attributes."""
        made = f"n{len(self._nodes)}"
        inputs = b"".join(_text(1, part) for part in parts if isinstance(part, str))
        attributes = b"".join(part for part in parts if isinstance(part, bytes))
        node = inputs + _text(2, made) + _text(4, operator) + attributes
        self._nodes.append(_message(1, node))
        return made

    def _weight(self, values: NDArray[Any]) -> str:
        name = f"w{len(self._weights)}"
        dims = b"".join(_number(1, size) for size in values.shape)
        raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
        tensor = dims + _number(2, _FLOAT) + _text(8, name) + _message(9, raw)
        self._weights.append(_message(5, tensor))
        return name


def _attribute(name: str, value: int | str | Sequence[int]) -> bytes:
    if isinstance(value, int):
        body, kind = _number(3, value), _INT
    elif isinstance(value, str):
        body, kind = _text(4, value), _STRING
    else:
        body, kind = b"".join(_number(8, each) for each in value), _INTS
    return _message(5, _text(1, name) + body + _number(20, kind))


def _value(name: str, shape: Sequence[int]) -> bytes:
    dims = b"".join(_message(1, _number(1, size)) for size in shape)
    return _text(1, name) + _message(2, _message(1, _number(1, _FLOAT) + _message(2, dims)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])
