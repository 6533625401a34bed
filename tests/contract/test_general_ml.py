"""The contract, applied to general_ml with functions, scikit-learn and ONNX models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from turnlab.chunks import Audio, Transcript
from turnlab.modules.base import Module
from turnlab.modules.general_ml import GeneralML
from turnlab.packaged import packaged
from turnlab.testing.contract import HEAVY, ModuleContract

FUNCTIONS = '''
import numpy as np


def loudness(audio):
    """The level of the speech in dBFS."""
    return 20 * np.log10(np.sqrt(np.mean(audio.samples**2)))


def windows(audio):
    """What the voice activity model takes: 32 ms windows and its state."""
    whole = len(audio.samples) // 512 * 512
    frames = audio.samples[:whole].reshape(-1, 512)
    before = np.concatenate([np.zeros((1, 64), np.float32), frames[:-1, -64:]])
    state = np.zeros((1, 1, 128), np.float32)
    return {"input": np.concatenate([before, frames], axis=1), "h": state, "c": state}
'''

SAID: Any = (np.sin(np.arange(16_000) * 0.2) * 0.3).astype(np.float32)
SOUND = (
    Audio(samples=SAID[:7000], sample_rate=16_000),
    Audio(samples=SAID[7000:], sample_rate=16_000),
)
QUESTIONS = {
    "weather": ["will it rain", "is it sunny today", "how is the weather"],
    "time": ["what time is it", "how late is it", "tell me the time"],
}


def trained() -> Any:
    """A classifier of what a question is about."""
    model = make_pipeline(CountVectorizer(), MultinomialNB())
    texts = [text for texts in QUESTIONS.values() for text in texts]
    return model.fit(texts, [label for label, texts in QUESTIONS.items() for _ in texts])


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the user's with everything that the classes below name."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "functions.py").write_text(FUNCTIONS)
    joblib.dump(trained(), folder / "intent.joblib")
    skops.io.dump(trained(), folder / "intent.skops")
    vad = packaged("faster_whisper", "assets", "silero_vad_v6.onnx")
    if vad is not None:
        (folder / "vad.onnx").symlink_to(vad)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNLAB_CODE", str(folder))
        patch.chdir(folder)
        yield folder


class GeneralContract(ModuleContract):
    """The contract for the class that the parameters give."""

    heavy: ClassVar = (*HEAVY, "joblib", "sklearn", "skops")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.module = wired(**cls.params)


def wired(**params: Any) -> type[Module]:
    return GeneralML.wired(GeneralML.check_params(params))


class TestFunction(GeneralContract):
    params: ClassVar = {"function": "functions.py:loudness", "consumes": ["Audio"]}
    inputs: ClassVar = SOUND


class TestOnnx(GeneralContract):
    params: ClassVar = {
        "function": "functions.py:windows",
        "model": "vad.onnx",
        "consumes": ["Audio"],
    }
    inputs: ClassVar = SOUND


class TestSkops(GeneralContract):
    params: ClassVar = {"model": "intent.skops", "consumes": ["Transcript"], "produces": "Caption"}
    inputs: ClassVar = (Transcript(text="will it"), Transcript(text="will it rain", final=True))


class TestJoblib(GeneralContract):
    params: ClassVar = {"model": "intent.joblib", "consumes": ["Transcript"], "produces": "Emotion"}
    inputs: ClassVar = (
        Transcript(text="what time"),
        Transcript(text="what time is it", final=True),
    )
