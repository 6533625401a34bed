"""One description of a picture, in sentences that a language model can use and none that lie."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from turnlab.vision.faces import FaceCounter
from turnlab.vision.facts import Facts, facts
from turnlab.vision.objects import Guess, ObjectGuesser
from turnlab.vision.text import TextReader

LIMITS = "Only text, faces, colours and one main object were looked for."

_SURE = 0.6
_LIKELY = 0.3
"""Probabilities from which a guess is said; docs/explanation/pictures.md tells how often they
were right."""

_MOST_TEXT = 400
"""Characters of text that a description quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found in one picture."""

    facts: Facts
    lines: tuple[str, ...] = ()
    guesses: tuple[Guess, ...] = ()
    faces: int = 0

    def profile(self) -> dict[str, Any]:
        """As a record keeps it."""
        return {
            "shape": self.facts.shape,
            "brightness": self.facts.brightness,
            "colours": list(self.facts.colours),
            "text": list(self.lines),
            "objects": {name: round(share, 3) for name, share in self.guesses},
            "faces": self.faces,
        }


class Looker:
    """Looks at pictures with what is asked for, one at a time. Raises MissingModel."""

    def __init__(self, *, text: bool, objects: bool, faces: bool, threads: int) -> None:
        threads = threads or os.cpu_count() or 2
        self._text = TextReader(threads) if text else None
        self._objects = ObjectGuesser(threads) if objects else None
        self._faces = FaceCounter() if faces else None
        self._one_at_a_time = threading.Lock()

    def look(self, picture: Any, leave: Callable[[], bool]) -> Findings | None:
        """What a decoded picture shows; None if `leave()` came true on the way."""
        seen: dict[str, Any] = {"facts": facts(picture)}
        with self._one_at_a_time:
            if self._objects and not leave():
                seen["guesses"] = tuple(self._objects.guess(picture))
            if self._faces and not leave():
                seen["faces"] = self._faces.count(picture)
            if self._text and not leave():
                seen["lines"] = tuple(self._text.read(picture))
        return None if leave() else Findings(**seen)


def sentences(found: Findings) -> str:
    """The findings in words: what it looks like, what it reads, what it may show."""
    parts = [_appearance(found.facts)]
    if found.lines:
        parts.append(f'It reads: "{_quoted(found.lines)}".')
    if found.faces:
        parts.append("One face is seen." if found.faces == 1 else f"{found.faces} faces are seen.")
    elif guess := _guess(found):
        parts.append(guess)
    return " ".join(parts)


def _appearance(facts: Facts) -> str:
    light = "" if facts.brightness == "medium" else f", {facts.brightness}"
    colours = f", mostly {' and '.join(facts.colours)}" if facts.colours else ""
    return f"A {facts.shape}{light} picture{colours}."


def _quoted(lines: tuple[str, ...]) -> str:
    text = " / ".join(lines).replace('"', "'")
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT].rstrip()} ..."


def _guess(found: Findings) -> str:
    """The main object: sure, likely, or, beside text or below that, none."""
    if not found.guesses or found.guesses[0][1] < (_SURE if found.lines else _LIKELY):
        return ""
    (name, share), *others = found.guesses
    if share >= _SURE:
        return f"It probably shows: {name}."
    near = [other for other, less in others if less >= _LIKELY]
    return f"It may show: {' or '.join([name, *near])}."
