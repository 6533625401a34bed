"""Arrays out of a file that `torch.save` wrote before PyTorch 1.6, without torch.

Such a file is a row of pickles, and to load a pickle can run any code. Here only the names that
build a dictionary of tensors are known, each of them as something that builds arrays; any other is
refused.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C

_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}

_MOST_NUMBERS = 50_000_000

Arrays = dict[str, NDArray[Any]]


def read_arrays(path: Path) -> Arrays:
    """The tensors of a dictionary, by name.

    Raises pickle.UnpicklingError, EOFError or ValueError for a file that is not one.
    """
    with path.open("rb") as file:
        if _Unpickler(file).load() != _MAGIC:
            raise ValueError(f"{path.name} is not a file of the older PyTorch format.")
        for _ in ("version", "machine"):
            _Unpickler(file).load()
        reader = _Unpickler(file)
        named = reader.load()
        for key in _Unpickler(file).load():
            size = int.from_bytes(file.read(8), "little")
            storage = reader.storages[key]
            if size != len(storage):
                raise ValueError(f"{path.name} holds {size} numbers where {len(storage)} belong.")
            if file.readinto(storage.view(np.uint8).data) != storage.nbytes:
                raise ValueError(f"{path.name} is cut off.")
    return dict(named)


class _Unpickler(pickle.Unpickler):
    """Knows the few names that make up a dictionary of tensors."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: Arrays = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights.")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        _, kind, key, _, size, _ = pid
        if size > _MOST_NUMBERS:
            raise pickle.UnpicklingError(f"{size} numbers in one tensor are too many.")
        return self.storages.setdefault(key, np.zeros(size, dtype=kind))


def _tensor(
    storage: NDArray[Any], offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> NDArray[Any]:
    """The tensor whose numbers lie in `storage`, which is filled later. Strides are in numbers."""
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if min(offset, *shape, *stride, 0) < 0 or last >= len(storage):
        raise pickle.UnpicklingError("A tensor reaches beyond its numbers.")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
