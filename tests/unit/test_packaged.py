"""Models inside packages: found without importing, missing with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from turnlab.errors import MissingModel
from turnlab.packaged import installed, model_path, packaged


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
