"""Where the weights of a model lie, and whether they may be read. Imports nothing heavy."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from turnlab.errors import InvalidParams, MissingModel
from turnlab.packaged import installed, looked_for

EXTRA = "pip install 'turnlab[hf]'"

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A folder with `config.json` and safetensors, or one GGUF file in `folder`."""

    folder: Path
    gguf_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HubWeights:
    """A model of the hub, by its id and revision; `download` says whether it may be fetched."""

    model_id: str
    revision: str
    download: bool


def find_weights(model: str, revision: str, download: bool) -> Weights | HubWeights:
    """What `model` names: a folder, a GGUF file, or an id of the hub such as `org/name`.

    A path counts as one if it is there or looks like one. Raises MissingModel where nothing is
    there, or where an id is not in the local cache and may not be fetched; InvalidParams for
    weights that are not read.
    """
    with looked_for(model):
        path = Path(model).expanduser()
        there = path.exists()
    if path.suffix.lower() == ".gguf":
        return _gguf(path)
    if path.is_dir():
        return checked_folder(path)
    if there:
        raise InvalidParams(f"{path} is neither a folder with a model nor a GGUF file.")
    if not _HUB_ID.fullmatch(model) or ".." in model:
        raise MissingModel(f"There is no model at {path}; give the path of one that is there.")
    if not download and not _cached(model):
        raise MissingModel(
            f"{model!r} is neither a local path nor in the local cache of the hub. Give the path "
            "of a folder or GGUF file, or set download = true to fetch it from the hub."
        )
    return HubWeights(model_id=model, revision=revision, download=download)


def checked_folder(folder: Path) -> Weights:
    """The weights in `folder`, once it is known that they are safetensors.

    Raises MissingModel if no model is in it, InvalidParams if it holds pickled weights only.
    """
    if not (folder / "config.json").is_file():
        raise MissingModel(f"{folder} holds no config.json, hence no model that can be loaded.")
    if any(folder.glob("*.safetensors")):
        return Weights(folder=folder)
    if any(found for pattern in _PICKLED for found in folder.glob(pattern)):
        raise InvalidParams(
            f"The weights in {folder} are pickled, and to load a pickle can run any code. Convert "
            "them where you trust them: model.save_pretrained(FOLDER) writes safetensors."
        )
    raise MissingModel(f"{folder} holds no *.safetensors; copy the model's weights into it.")


def missing_libraries(*packages: str) -> list[str]:
    """What to install so that `packages` can be imported; empty if they can."""
    absent = [package for package in packages if not installed(package)]
    if not absent:
        return []
    be = "is" if len(absent) == 1 else "are"
    return [f"{' and '.join(absent)} {be} not installed: {EXTRA}"]


def _gguf(path: Path) -> Weights:
    if not path.is_file():
        raise MissingModel(f"There is no model at {path}; give the path of one that is there.")
    if missing := missing_libraries("gguf", "accelerate"):
        raise MissingModel(f"To read a GGUF file, {missing[0]}")
    return Weights(folder=path.parent, gguf_file=path.name)


def _cached(model_id: str) -> bool:
    """Whether the hub's local cache holds any revision of it."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    snapshots = cache / f"models--{model_id.replace('/', '--')}" / "snapshots"
    return snapshots.is_dir() and any(snapshots.iterdir())
