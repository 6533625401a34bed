"""The contract, applied to hf_llm with the default model."""

from __future__ import annotations

from typing import ClassVar

import pytest

from turnlab.chunks import Transcript
from turnlab.modules.base import Exchange
from turnlab.modules.hf_llm import HuggingFaceLLM
from turnlab.testing.contract import ModuleContract


@pytest.mark.slow
class TestHuggingFaceLLM(ModuleContract):
    module = HuggingFaceLLM
    params: ClassVar = {"max_tokens": 24}
    inputs: ClassVar = (
        Transcript(text="What is the"),
        Transcript(text="What is the capital of France?", final=True),
    )
    history: ClassVar = (Exchange(text="Hello.", reply="Hello! How can I help?"),)
