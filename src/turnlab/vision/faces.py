"""How many faces a picture shows, by the Haar cascade inside OpenCV (Viola and Jones 2001).

It finds faces that look at the camera, upright; it knows nobody.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from turnlab.errors import MissingModel
from turnlab.packaged import packaged

_SIDE = 320
"""Pixels of the longer side in which faces are searched."""

_SMALLEST = 28
"""Pixels of the smallest face in it."""

_AGREEING = 8
"""How many overlapping finds make a face; with fewer, coins became one."""


CASCADE = ("data", "haarcascade_frontalface_default.xml")


def missing_cascade() -> list[str]:
    """What to install so that faces can be counted; empty if they can."""
    if packaged("cv2", *CASCADE):
        return []
    return ["OpenCV 4, which carries the cascade, is not installed: pip install 'turnlab[vision]'"]


class FaceCounter:
    """Counts the faces in pictures, one at a time. Raises MissingModel."""

    def __init__(self) -> None:
        if missing := missing_cascade():
            raise MissingModel(missing[0])
        import cv2

        cascade = packaged("cv2", *CASCADE)
        self._cascade: Any = cv2.CascadeClassifier(str(cascade))

    def count(self, picture: Any) -> int:
        """The faces in a decoded picture."""
        grey = picture.convert("L")
        grey.thumbnail((_SIDE, _SIDE))
        boxes = self._cascade.detectMultiScale(
            np.asarray(grey),
            scaleFactor=1.2,
            minNeighbors=_AGREEING,
            minSize=(_SMALLEST, _SMALLEST),
        )
        return len(boxes)
