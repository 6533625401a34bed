"""A reply while it is written, across pauses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from turnlab.hugging_face.writing import Detokenizer, Ending, Sampler


@dataclass(kw_only=True)
class Draft:
    """What has been written to a prompt so far, and what decides when it ends."""

    prompt: list[int]
    most: int
    """Most tokens of the reply."""
    sampler: Sampler
    words: Detokenizer
    ending: Ending
    known: int = 0
    """How many tokens of the prompt had been read before."""
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    pieces: int = 0
    finish_reason: str = ""
    _begun: bool = False

    @property
    def all_tokens(self) -> list[int]:
        """Prompt and reply."""
        return self.prompt + self.tokens

    def add(self, logits: Any, ends: Collection[int], end_whole: bool) -> str:
        """Choose the next token from its logits; the text that it adds.

        Text ends at a token of `ends`, at a stop, after `most` tokens or, with `end_whole`,
        with the sentence once half of them are written.
        """
        token = self.sampler.pick(logits, self.all_tokens)
        if token in ends:
            return self._end("stop")
        self.tokens.append(token)
        piece = self.words.add(token)
        if not self._begun:
            piece = piece.lstrip()
            self._begun = bool(piece)
        said = self._say(self.ending.add(piece))
        if self.ending.reached:
            self.finish_reason = "stop"
        elif len(self.tokens) >= self.most:
            said += self._end("length")
        elif end_whole and 2 * len(self.tokens) >= self.most and self._whole():
            self.finish_reason = "length"
        return said

    def profile(self) -> dict[str, Any]:
        """What a record keeps of it."""
        return {
            "finish_reason": self.finish_reason,
            "tokens": len(self.tokens),
            "prompt_tokens": len(self.prompt),
            "cached_tokens": self.known,
        }

    def _whole(self) -> bool:
        return self.text.endswith((".", "!", "?"))

    def _end(self, reason: str) -> str:
        self.finish_reason = reason
        return self._say(self.ending.rest())

    def _say(self, piece: str) -> str:
        self.text += piece
        self.pieces += bool(piece)
        return piece
