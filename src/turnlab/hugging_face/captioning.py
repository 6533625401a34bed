"""Captions by models that turn a picture into a sentence, such as BLIP, GIT and ViT-GPT2."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from turnlab.hugging_face.loading import Device, Dtype, device_of, inferring, load_model, loading
from turnlab.hugging_face.weights import Weights


class Captioner:
    """A captioning model in a local folder; describes one picture at a time.

    Raises MissingModel if the folder holds no such model, InvalidParams for a device that is not
    there.
    """

    def __init__(self, weights: Weights, device: Device, dtype: Dtype) -> None:
        from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

        where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        with loading(weights):
            self._see = AutoImageProcessor.from_pretrained(weights.folder, **where)
            self._words = AutoTokenizer.from_pretrained(weights.folder, **where)
        place = device_of(device)
        self._model = load_model(AutoModelForImageTextToText, weights, place, dtype)
        self._one_at_a_time = threading.Lock()

    def caption(self, picture: Any, max_tokens: int, leave: Callable[[], bool]) -> str:
        """A sentence on a decoded picture; what there is of it once `leave()` comes true."""
        pixels = self._see(images=picture, return_tensors="pt").pixel_values
        with self._one_at_a_time, inferring():
            tokens = self._model.generate(
                pixel_values=pixels.to(self._model.device, self._model.dtype),
                max_new_tokens=max_tokens,
                do_sample=False,
                stopping_criteria=[_stop_when(leave)],
            )
        text: str = self._words.decode(tokens[0], skip_special_tokens=True)
        return " ".join(text.split())


def _stop_when(leave: Callable[[], bool]) -> Any:
    """A stopping criterion of transformers: it is asked after each token of the batch."""
    import torch

    def criterion(tokens: Any, scores: Any, **_: Any) -> Any:
        return torch.full((len(tokens),), leave(), dtype=torch.bool, device=tokens.device)

    return criterion
