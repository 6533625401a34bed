"""The contract, applied to image2text with each of its engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.unit.test_image2text import picture, save_captioner, sign
from turnlab.modules.image2text import Image2Text
from turnlab.testing.contract import ModuleContract
from turnlab.testing.openai_server import OpenAIServer

EXIT = picture(sign("EXIT"))


class ImageContract(ModuleContract):
    """Two frames of a video in which nothing moves: the second needs no words of its own."""

    module = Image2Text
    inputs: ClassVar = (EXIT, EXIT)


@pytest.mark.slow
class TestEmbedded(ImageContract):
    pass


class TestOpenAI(ImageContract):
    """Against a server on loopback that takes a moment for each word."""

    params: ClassVar = {"engine": "openai"}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls) -> Iterator[OpenAIServer]:
        with pytest.MonkeyPatch.context() as patch, OpenAIServer(piece_s=0.01) as server:
            patch.setenv("OPENAI_BASE_URL", server.base_url)
            yield server


class TestTransformers(ImageContract):
    """With a tiny random model: its words mean nothing, but its code is that of any BLIP."""

    params: ClassVar[dict[str, Any]] = {"engine": "transformers", "max_tokens": 40}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def captioner(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = save_captioner(tmp_path_factory.mktemp("captioner"))
        cls.params = {**cls.params, "model": str(folder)}
        return folder
