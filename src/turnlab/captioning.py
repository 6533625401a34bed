"""The engines that say in words what a picture shows, for the Module image2text."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Literal, Protocol

from turnlab.errors import EmptyReply, InvalidParams, MissingModel
from turnlab.hugging_face.captioning import Captioner
from turnlab.hugging_face.loading import fetched, quiet, use_threads
from turnlab.hugging_face.weights import HubWeights, Weights, find_weights, missing_libraries
from turnlab.modules.base import Context
from turnlab.openai_api import (
    ChatAnswer,
    Clients,
    Stopwatch,
    missing_provider,
    picture_part,
    stream_chat,
)
from turnlab.packaged import installed
from turnlab.vision.faces import missing_cascade
from turnlab.vision.looking import LIMITS, Looker, sentences
from turnlab.vision.objects import weights_file
from turnlab.vision.pictures import encoded
from turnlab.vision.text import INSTALL, model_files

EngineName = Literal["embedded", "openai", "transformers"]

OPENAI_MODEL = "gpt-4o-mini"

PROMPT = (
    "Describe this picture in one or two plain sentences to somebody who cannot see it. Quote the "
    "text in it, if any."
)


class Engine(Protocol):
    """What describes pictures; made from a Module's parameters, with the models loaded."""

    async def describe(self, picture: Any, context: Context) -> str:
        """A decoded picture in words, on one line."""
        ...

    def warm(self, params: Any) -> None:
        """Make the first picture as fast as later ones; called in a thread."""
        return

    def close(self) -> None:
        """Free what was loaded."""
        ...


def make_engine(params: Any) -> Engine:
    """The engine that the parameters name. Raises MissingModel, MissingKey, InvalidParams."""
    if not installed("PIL"):
        raise MissingModel(_PILLOW)
    engine: Engine = _ENGINES[params.engine](params)
    return engine


def missing_for(params: Any) -> list[str]:
    """What must be installed or given for the engine that the parameters name."""
    missing = [] if installed("PIL") else [_PILLOW]
    if params.engine == "openai":
        return missing + missing_provider(params)
    if params.engine == "embedded":
        return missing + _missing_models(params)
    return missing + _missing_captioner(params)


class _Embedded(Engine):
    """Small models on this machine."""

    def __init__(self, params: Any) -> None:
        self._looker = Looker(
            text=params.read_text,
            objects=params.guess_objects,
            faces=params.count_faces,
            threads=params.threads,
        )

    def close(self) -> None:
        del self._looker

    async def describe(self, picture: Any, context: Context) -> str:
        found = await context.blocking(self._look, picture, context)
        known = context.result.setdefault("recognised", [])
        known.append(found.profile())
        text = sentences(found)
        return f"{text} {LIMITS}" if len(known) == 1 else text

    def _look(self, picture: Any, context: Context) -> Any:
        with context.latency.model("look"):
            return self._looker.look(picture, context.stop.is_set)


class _OpenAI(Engine):
    """A vision model of OpenAI or of a server that speaks its API."""

    def __init__(self, params: Any) -> None:
        self._clients = Clients(params)

    def warm(self, params: Any) -> None:
        self._clients.warm(params)

    def close(self) -> None:
        self._clients.close()

    async def describe(self, picture: Any, context: Context) -> str:
        params: Any = context.params
        provider = self._clients.of(params)
        model = params.model or OPENAI_MODEL
        async with provider.opened_ahead(params.connect_ahead):
            part = await context.blocking(self._part, picture, context)
        answer = ChatAnswer()
        stream = stream_chat(
            provider,
            answer,
            model=model,
            messages=[{"role": "user", "content": [{"type": "text", "text": params.prompt}, part]}],
            max_tokens=params.max_tokens,
        )
        watch = Stopwatch(context.latency, context.machine.clock, "first_token")
        try:
            async with aclosing(stream) as pieces:
                async for _ in pieces:
                    watch.piece()
        finally:
            watch.end()
            for key, value in provider.bill(model, answer.usage).items():
                context.result.setdefault(key, []).append(value)
        return " ".join(answer.text.split())

    def _part(self, picture: Any, context: Context) -> dict[str, Any]:
        params: Any = context.params
        with context.latency.transfer("encode"):
            return picture_part(encoded(picture), params.detail)


class _Transformers(Engine):
    """A captioning model of the Hugging Face libraries."""

    def __init__(self, params: Any) -> None:
        if libraries := missing_libraries("torch", "transformers"):
            raise MissingModel(libraries[0])
        quiet()
        use_threads(params.threads)
        self._captioner = Captioner(fetched(_weights(params)), params.device, params.dtype)

    def close(self) -> None:
        del self._captioner

    async def describe(self, picture: Any, context: Context) -> str:
        text = await context.blocking(self._caption, picture, context)
        if not text:
            raise EmptyReply("The captioning model said nothing; is it one for captions?")
        return text

    def _caption(self, picture: Any, context: Context) -> str:
        params: Any = context.params
        with context.latency.model("caption"):
            return self._captioner.caption(picture, params.max_tokens, context.stop.is_set)


_ENGINES: dict[str, type[Any]] = {
    "embedded": _Embedded,
    "openai": _OpenAI,
    "transformers": _Transformers,
}

_PILLOW = f"Pillow is not installed: {INSTALL}"


def _missing_models(params: Any) -> list[str]:
    missing = []
    if (params.read_text or params.guess_objects) and not installed("onnxruntime"):
        missing.append(f"onnxruntime is not installed: {INSTALL}")
    files = (params.read_text, model_files), (params.guess_objects, weights_file)
    for wanted, find in files:
        try:
            if wanted:
                find()
        except MissingModel as error:
            missing.append(error.message)
    return missing + (missing_cascade() if params.count_faces else [])


def _missing_captioner(params: Any) -> list[str]:
    if libraries := missing_libraries("torch", "transformers"):
        return libraries
    try:
        _weights(params)
    except (MissingModel, InvalidParams) as error:
        return [error.message]
    return []


def _weights(params: Any) -> Weights | HubWeights:
    """Where the captioning model is. Raises MissingModel or InvalidParams."""
    if params.model is None:
        raise MissingModel("Set model to the folder of a captioning model, such as BLIP's.")
    found = find_weights(params.model, params.revision, params.download)
    if isinstance(found, Weights) and found.gguf_file:
        raise InvalidParams("A captioning model cannot be a GGUF file; give a folder.")
    return found
