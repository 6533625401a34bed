"""Writing with a causal language model, one token after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from itertools import takewhile
from typing import Any

from turnlab.hugging_face.loading import inferring

_POLL_S = 0.02
"""How often a Task that waits for the model looks whether it was cancelled."""

_REPEAT_WINDOW = 64
"""How many of the newest tokens count as repeated; llama.cpp's default too."""

_STRETCH = 16
"""How many tokens are decoded together at most."""


class CachedModel:
    """A causal language model that keeps the keys and values of what it has read last.

    `read` computes only what follows the beginning that two texts have in common, so that a
    Conversation's earlier turns cost nothing. One Task has it at a time (`take`).
    """

    def __init__(self, model: Any, batch_tokens: int) -> None:
        self._model = model
        self._batch = batch_tokens
        self._lock = threading.Lock()
        self._read: list[int] = []
        self._cache: Any = None

    @property
    def dtype(self) -> str:
        """The numbers that it computes in, such as `float32`."""
        return str(self._model.dtype).removeprefix("torch.")

    def take(self, leave: Callable[[], bool]) -> bool:
        """Wait until nobody has the model, then have it; False if `leave()` came true first."""
        while not (free := self._lock.acquire(timeout=_POLL_S)) and not leave():
            pass
        return free

    def release(self) -> None:
        """Let the next Task have it."""
        self._lock.release()

    def read(self, tokens: Sequence[int], leave: Callable[[], bool]) -> Any:
        """The logits of what may follow `tokens`: float32 on the CPU, shape (vocabulary,).

        None if `leave()` came true between two batches; what was read by then is kept.
        """
        logits = None
        for start in range(self.keep(tokens), len(tokens), self._batch):
            if leave():
                return None
            logits = self._forward(list(tokens[start : start + self._batch]))
        return logits

    def keep(self, tokens: Sequence[int]) -> int:
        """Forget what does not begin `tokens`; how many of them, but never all, are known."""
        pairs = zip(self._read, tokens[:-1], strict=False)
        known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if known < len(self._read):
            self._cut(known)
        return len(self._read)

    def _cut(self, length: int) -> None:
        excess = len(self._read) - length
        try:
            if length:
                self._cache.crop(-excess)
        except (AttributeError, NotImplementedError, RuntimeError, ValueError):
            length = 0  # a cache of a kind that cannot be cut, such as a sliding window
        if not length:
            self._cache = None
        del self._read[length:]

    def _forward(self, tokens: list[int]) -> Any:
        import torch
        from transformers import DynamicCache

        cache = self._cache or DynamicCache(config=self._model.config)
        before = self._read
        # If this fails nobody knows what the cache holds: then all is read anew.
        self._cache, self._read = None, []
        ids = torch.tensor([tokens], device=self._model.device)
        with inferring():
            made = self._model(
                input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1
            )
        self._cache, self._read = made.past_key_values, [*before, *tokens]
        return made.logits[0, -1].to("cpu", torch.float32, copy=True)


class Sampler:
    """Which token comes next; equal seeds choose equally."""

    def __init__(self, *, temperature: float, top_p: float, repeat_penalty: float, seed: int):
        import torch

        self._temperature = temperature
        self._top_p = top_p
        self._penalty = repeat_penalty
        self._random = torch.Generator().manual_seed(seed)

    def pick(self, logits: Any, before: Sequence[int]) -> int:
        """The next token: the likeliest at temperature 0, else drawn from the likeliest that
        together have the probability `top_p`. `before` are the tokens so far."""
        import torch

        if self._penalty != 1 and before:
            recent = torch.tensor(sorted(set(before[-_REPEAT_WINDOW:])))
            known = logits[recent]
            logits[recent] = torch.where(known > 0, known / self._penalty, known * self._penalty)
        if not self._temperature:
            return int(logits.argmax())
        chances, tokens = torch.softmax(logits / self._temperature, -1).sort(descending=True)
        chances[chances.cumsum(-1) - chances >= self._top_p] = 0  # never the first
        return int(tokens[torch.multinomial(chances, 1, generator=self._random)])


class Detokenizer:
    """Text of tokens that come one by one, never a part of a character.

    A tokenizer may join tokens, put spaces between them or drop the first one's, so each new
    text is what a decoded stretch gains by the new token.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._stretch: list[int] = []
        self._said = ""

    def add(self, token: int) -> str:
        """The text that `token` completes; '' while a character is not whole."""
        self._stretch.append(token)
        text = self._decode(self._stretch)
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        new = text[len(self._said) :]
        if len(self._stretch) > _STRETCH:
            self._stretch = self._stretch[-1:]
            text = self._decode(self._stretch)
        self._said = text
        return new


class Ending:
    """Holds text back until it is known that none of `stops`, which end the text, begins in it."""

    def __init__(self, stops: Collection[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.reached = False

    def add(self, piece: str) -> str:
        """What may be said now."""
        text = self._held + piece
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self._held, self.reached = "", True
            return text[: min(found)]
        held = self._begun(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> str:
        """What was held back, once no more follows."""
        held, self._held = self._held, ""
        return held

    def _begun(self, text: str) -> int:
        """The length of the longest end of `text` that begins one of the stops."""
        lengths = range(max(map(len, self._stops), default=1) - 1, 0, -1)
        ends = (text[-length:] for length in lengths if length <= len(text))
        return next((len(e) for e in ends if any(s.startswith(e) for s in self._stops)), 0)
