"""The text in a picture, by the detector and recogniser that come inside the package rapidocr.

The models are PP-OCRv6 small (Apache-2.0), which read Latin and Chinese script. They are named by
path, so that nothing is ever fetched.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from turnlab.errors import MissingModel
from turnlab.packaged import packaged

INSTALL = "pip install 'turnlab[vision]'"

_MODELS = {
    "Det.model_path": "PP-OCRv6_det_small.onnx",
    "Cls.model_path": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "Rec.model_path": "PP-OCRv6_rec_small.onnx",
}

_SIDE = 736
"""Pixels of the longer side in which text is looked for. Without this limit small pictures are
enlarged, which took three times as long and read no more."""

_SURE = 0.75
"""Of a line, the recogniser's own score; below it lines were mostly noise."""

_LEAST = 2
"""Letters or digits of a line; single ones were mostly patterns."""


def model_files() -> dict[str, str]:
    """The models' paths by the name of their setting. Raises MissingModel."""
    found = {name: packaged("rapidocr", "models", file) for name, file in _MODELS.items()}
    absent = [_MODELS[name] for name, path in found.items() if path is None]
    if absent:
        raise MissingModel(f"rapidocr or its {absent[0]} is not installed: {INSTALL}")
    return {name: str(path) for name, path in found.items()}


class TextReader:
    """Reads pictures, one at a time. Raises MissingModel."""

    def __init__(self, threads: int) -> None:
        files = model_files()
        from rapidocr import RapidOCR

        settings: dict[str, Any] = {
            "Global.log_level": "critical",
            "Det.limit_type": "max",
            "Det.limit_side_len": _SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
        self._engine = RapidOCR(params=settings | files)

    def read(self, picture: Any) -> list[str]:
        """The lines of text in a decoded picture, from top to bottom."""
        found: Any = self._engine(np.asarray(picture)[:, :, ::-1])  # it takes blue first
        pairs = zip(found.txts or (), found.scores or (), strict=True)
        lines = (" ".join(text.split()) for text, score in pairs if score >= _SURE)
        return [line for line in lines if sum(map(str.isalnum, line)) >= _LEAST]
