"""Models inside packages: found without importing, missing with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turnlab.custom.files import MODELS, find_file
from turnlab.errors import MissingModel
from turnlab.hugging_face.weights import find_weights
from turnlab.packaged import installed, model_path, packaged
from turnlab.retrieval.embedding import model_files


def test_a_given_path_wins(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.touch()
    assert model_path(str(model), "turnlab", ("py.typed",), "turnlab") == model


def test_a_given_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingModel, match=r"absent\.gguf"):
        model_path(str(tmp_path / "absent.gguf"), "turnlab", ("py.typed",), "turnlab")


def test_a_package_that_is_not_there_says_what_to_install() -> None:
    assert not installed("no_such_package_here")
    assert packaged("no_such_package_here", "model") is None
    with pytest.raises(MissingModel, match="pip install some-package==1"):
        model_path(None, "no_such_package_here", ("model",), "some-package==1")


def test_a_file_of_an_installed_package_is_found() -> None:
    assert packaged("turnlab", "py.typed") is not None


@pytest.mark.parametrize(
    "given", ["~no_such_user_here/model.onnx", "a\0b.onnx", "x" * 5000 + ".onnx"]
)
@pytest.mark.parametrize(
    "find",
    [
        lambda given: model_path(given, "turnlab", ("py.typed",), "turnlab"),
        lambda given: find_file(given, MODELS),
        lambda given: find_weights(given, "main", False),
        model_files,
    ],
)
def test_a_path_that_is_refused_is_named_with_what_to_do(
    find: Callable[[str], Any], given: str
) -> None:
    with pytest.raises(MissingModel, match=r"cannot be looked for .*; give the path") as caught:
        find(given)
    assert repr(given[:20])[:-1] in caught.value.message
