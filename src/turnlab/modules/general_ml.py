"""general_ml: a function or a trained model of the user's own, as a Component."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cache, partial
from hashlib import sha256
from inspect import isgenerator
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import BaseModel, Field, JsonValue, model_validator

from turnlab.chunks import (
    Audio,
    Caption,
    Chunk,
    Emotion,
    Image,
    Passages,
    Reply,
    Speech,
    Transcript,
    Value,
)
from turnlab.custom import (
    MODELS,
    SCRIPTS,
    Prediction,
    Predictor,
    digest_of,
    find_file,
    load_function,
    load_predictor,
    missing_file,
    missing_library,
    plain,
    state_of,
    to_chunk,
)
from turnlab.errors import InvalidParams, MissingModel, ModuleFailed, TooMuchOutput, TurnlabError
from turnlab.modules.base import Context, Inputs, Module, loaded

KINDS: dict[str, type[Chunk]] = {
    kind.kind: kind
    for kind in (Audio, Image, Transcript, Caption, Emotion, Passages, Reply, Speech, Value)
}

Made = Literal["Transcript", "Caption", "Emotion", "Passages", "Reply", "Speech", "Value"]
Read = Made | Literal["Audio", "Image"]

MOST_VALUES = 10_000
"""How many Chunks a generator may give."""


class GeneralML(Module):
    """Run a function or a trained model of your own on the Chunks, without writing a Module.

    `function` names a Python file and a function in it; it gets the whole of each kind named in
    `consumes` and `uses`, in that order (None where nothing makes a kind of `uses`), and the
    `arguments`. What it returns becomes a Chunk of the kind `produces`: text, a label, a number
    or a dict a Caption, Transcript or Reply; a label or values an Emotion; anything that is JSON
    a Value, which is kept in the records and which no prompt waits for; a Chunk of that kind
    itself always. A generator gives one Chunk for each thing that it yields.

    `model` names an ONNX file or a scikit-learn model (.skops, .joblib, .pkl). It gets what the
    function returns or, without one, the text or the samples of the only kind in `consumes`.

    Python files and pickles run code: they are loaded only from the folders that the environment
    variable TURNLAB_CODE names. A call that never returns cannot be stopped: the Task ends at its
    timeout_s, its thread does not.
    """

    task_name = "general_ml"
    uses = tuple(KINDS.values())
    produces = Value
    version = "1"
    concurrency = 1  # a user's function need not stand being called twice at once
    results: ClassVar = {"confidences": "by label how sure the model is, where it says so"}
    measures: ClassVar = {
        "model_function": "the function's own time",
        "model_predict": "the model's time",
    }
    raises: ClassVar = (MissingModel, InvalidParams, ModuleFailed, TooMuchOutput)

    class Params(BaseModel):
        function: str | None = loaded(
            None,
            max_length=4096,
            pattern=r"^.+\.py:[A-Za-z_]\w*$",
            description="A Python file and a function in it, such as my_functions.py:loudness.",
        )
        model: str | None = loaded(
            None, max_length=4096, description="An ONNX, skops, joblib or pickle file."
        )
        labels: list[str] = loaded(
            [], max_length=10_000, description="What each number that an ONNX model gives is for."
        )
        arguments: dict[str, JsonValue] = Field(
            {}, description="What the function gets by name beside the Chunks."
        )
        consumes: list[Read] = Field(
            [], max_length=9, description="Kinds that must be there, in the function's order."
        )
        uses: list[Read] = Field(
            [], max_length=9, description="Kinds that are read where something makes them."
        )
        produces: Made = Field("Value", description="The kind that is made of the result.")

        @model_validator(mode="after")
        def _is_whole(self) -> Self:
            read = [*self.consumes, *self.uses]
            if self.function is None and self.model is None:
                raise ValueError("name a function, a model or both")
            if not read or len(set(read)) < len(read):
                raise ValueError("name in consumes and uses at least one kind, each once")
            if self.function is None and (len(read) > 1 or read[0] not in _ALONE):
                kinds = ", ".join(_ALONE)
                raise ValueError(f"a model without a function consumes one of {kinds}")
            if self.model is not None and not self.model.lower().endswith(MODELS):
                raise ValueError(f"a model is a file that ends in {', '.join(MODELS)}")
            return self

    @classmethod
    def wired(cls, params: BaseModel) -> type[Module]:
        own, given = cast(Any, cls), cast(Any, params)
        return _wired(own, tuple(given.consumes), tuple(given.uses), given.produces)

    @classmethod
    def missing(cls, params: BaseModel) -> list[str]:
        given: Any = params
        missing = [why for file in _files(given) for why in missing_file(*file)]
        return missing if given.model is None else missing + missing_library(given.model)

    @classmethod
    def pinned(cls, params: BaseModel) -> Mapping[str, str]:
        """What the files hold that would be used, wherever they lie."""
        return {name: digest_of(name, endings) for name, endings in _files(params)}

    @classmethod
    def instance_key(cls, params: BaseModel) -> str:
        """Counts an edited file as another one, so that it is loaded anew."""
        states = "\n".join(state_of(*file) for file in _files(params))
        return f"{super().instance_key(params)}-{sha256(states.encode()).hexdigest()[:12]}"

    def load(self) -> None:
        self._function: Callable[..., Any] | None = None
        self._predictor: Predictor | None = None
        if self.params.function is not None:
            file, _, name = self.params.function.rpartition(":")
            self._function = load_function(find_file(file, SCRIPTS), name)
        if self.params.model is not None:
            model = find_file(self.params.model, MODELS)
            self._predictor = load_predictor(model, self.params.labels)

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        chunks: list[Chunk | None] = [await inputs.whole(kind) for kind in self.consumes]
        for kind, chunk in zip(self.consumes, chunks, strict=True):
            if chunk is None:
                raise ModuleFailed(f"There was no {kind.kind} to work on.")
        chunks += [await inputs.whole(kind) for kind in self.uses]
        async for chunk in context.blocking_stream(partial(self._work, chunks, context)):
            yield chunk

    def _work(
        self, chunks: list[Chunk | None], context: Context, emit: Callable[[Chunk], None]
    ) -> None:
        """In a thread: emit a Chunk for each value. Whatever the user's code raises has a name."""
        try:
            for count, value in enumerate(self._values(chunks, context)):
                if context.stop.is_set():
                    return
                if count >= MOST_VALUES:
                    raise TooMuchOutput(
                        f"{self._maker} gave more than {MOST_VALUES:,} values; let it end."
                    )
                emit(self._chunk(value, context))
        except TurnlabError:
            raise
        except BaseException as error:  # SystemExit and StopIteration would not reach the Task
            raise ModuleFailed(f"{self._maker} raised {error!r:.500}") from error

    def _values(self, chunks: list[Chunk | None], context: Context) -> Iterator[Any]:
        """What the function gives, its time measured; without one, what the model takes."""
        if self._function is None:
            yield _ALONE[chunks[0].kind](chunks[0]) if chunks[0] else None
            return
        arguments: Any = context.params
        with context.latency.model("function"):
            given = self._function(*chunks, **arguments.arguments)
        if not isgenerator(given):
            yield given
            return
        end = object()
        while True:
            with context.latency.model("function"):
                value = next(given, end)
            if value is end:
                return
            yield value

    def _chunk(self, value: Any, context: Context) -> Chunk:
        if self._predictor is None:
            return to_chunk(value, self.produces, self._maker)
        with context.latency.model("predict"):
            said: Prediction = self._predictor.predict(value)
        if said.confidences:
            context.result["confidences"] = plain(said.confidences, self._maker)
        return to_chunk(_label(said, self.produces), self.produces, self._maker)

    @property
    def _maker(self) -> str:
        """What messages call the user's code."""
        return str(self.params.model or self.params.function)


_ALONE: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("Transcript", "Caption", "Passages", "Reply"), lambda chunk: chunk.text),
    **dict.fromkeys(("Audio", "Speech"), lambda chunk: chunk.samples),
    "Value": lambda chunk: chunk.value,
}
"""What a model without a function gets of a Chunk."""


def _label(said: Prediction, kind: type[Chunk]) -> Any:
    """A label that is a number is text where text is wanted: class 1 is no amount."""
    return str(said.value) if said.confidences and kind is not Value else said.value


def _files(params: Any) -> list[tuple[str, tuple[str, ...]]]:
    """The files that the parameters name, each with the endings that it may have."""
    files: list[tuple[str, tuple[str, ...]]] = []
    if params.function is not None:
        files.append((params.function.rpartition(":")[0], SCRIPTS))
    if params.model is not None:
        files.append((params.model, MODELS))
    return files


@cache
def _wired(
    cls: Any, consumes: tuple[str, ...], uses: tuple[str, ...], produces: str
) -> type[Module]:
    """The subclass that reads and makes these kinds; `cls` itself if it does."""
    kinds = {
        "consumes": tuple(KINDS[name] for name in consumes),
        "uses": tuple(KINDS[name] for name in uses),
        "produces": KINDS[produces],
    }
    if all(getattr(cls, name) == value for name, value in kinds.items()):
        return cast(type[Module], cls)
    return type(cls.__name__, (cls,), {**kinds, "__doc__": cls.__doc__, "__module__": __name__})
