"""The contract, applied to text2speech with its default voice."""

from __future__ import annotations

from typing import ClassVar

import pytest

from turnlab.chunks import Reply
from turnlab.modules.text2speech import Text2Speech
from turnlab.testing.contract import ModuleContract


@pytest.mark.slow
class TestText2Speech(ModuleContract):
    module = Text2Speech
    inputs: ClassVar = (
        Reply(text="Of course, "),
        Reply(text="the weather is fine today. "),
        Reply(text="It will rain tomorrow."),
    )
    deterministic = False  # the voice varies at random
