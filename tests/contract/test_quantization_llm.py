"""The contract, applied to quantization_llm with its default model."""

from __future__ import annotations

from typing import ClassVar

import pytest

from turnlab.chunks import Transcript
from turnlab.modules.base import Exchange
from turnlab.modules.quantization_llm import QuantizationLLM
from turnlab.testing.contract import ModuleContract


@pytest.mark.slow
class TestQuantizationLLM(ModuleContract):
    module = QuantizationLLM
    params: ClassVar = {"max_tokens": 24}
    inputs: ClassVar = (
        Transcript(text="What is the"),
        Transcript(text="What is the capital of France?", final=True),
    )
    history: ClassVar = (Exchange(text="Hello.", reply="Hello! How can I help?"),)
