"""The Module interface: one method that reads Chunks and yields Chunks."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import inspect
import math
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from pydantic import BaseModel, Field, ValidationError

from turnlab.chunks import Chunk, Origin
from turnlab.conversations import Exchange as Exchange
from turnlab.errors import InvalidModule, InvalidParams, TurnlabError
from turnlab.machine import BACKGROUND, Machine
from turnlab.profiles import LatencyProfile
from turnlab.streams import Stream, whole

C = TypeVar("C", bound=Chunk)
T = TypeVar("T")
P = ParamSpec("P")

MASK = "**********"

_SECRET = re.compile(r"(^|_)(key|token|secret|password)$", re.IGNORECASE)
_ADDRESS = re.compile(r"(?<=://)[^/@\s]+(?=@)|(?<=\?)\S+")

TEMPLATE_FIELDS = ("text", "caption", "emotion", "passages", "history")
"""The fields that a parameter named `prompt_template` may use."""


def loaded(default: Any, **kwargs: Any) -> Any:
    """A Params field that `load()` reads: Tasks that differ in it do not share an instance."""
    return Field(default, json_schema_extra={"loaded": True}, **kwargs)


class Inputs:
    """What a Task reads: streams by kind, each from its beginning, as often as wanted."""

    def __init__(self, streams: Mapping[type[Chunk], Stream[Any]]) -> None:
        self._streams = dict(streams)
        self.newest: Origin | None = None
        self.first_read_s: float | None = None
        """When the Task got the first Chunk."""
        self._receipt = (0.0, 0.0)

    @property
    def streams(self) -> Mapping[type[Chunk], Stream[Any]]:
        """The streams by kind, for executors that hand them on."""
        return self._streams

    def has(self, kind: type[Chunk]) -> bool:
        """Whether anything produces `kind` for this Task."""
        return kind in self._streams

    async def stream(self, kind: type[C]) -> AsyncIterator[C]:
        """The Chunks of `kind` as they come; none if nothing produces them."""
        if kind not in self._streams:
            return
        stream = cast(Stream[C], self._streams[kind])
        reader = stream.read()
        async for chunk in reader:
            if self.first_read_s is None:
                self.first_read_s = reader.read_s
            self.note(chunk.origin, reader.asked_s, reader.read_s)
            yield chunk
        self.note(stream.end_origin, reader.asked_s, reader.read_s)

    async def latest(self, kind: type[C]) -> AsyncIterator[C]:
        """The same for kinds that revise: what is outdated when it is read is passed over."""
        async for chunk in self.stream(kind):
            if not self.outdated(chunk):
                yield chunk

    def outdated(self, chunk: Chunk) -> bool:
        """Whether a newer Chunk of its kind is there already."""
        stream = self._streams[type(chunk)]
        return stream.newest is not chunk

    async def superseded(self, chunk: Chunk) -> None:
        """Wait until a newer Chunk of its kind is there, or none will come."""
        await self._streams[type(chunk)].superseded(chunk)

    def ended(self, kind: type[Chunk]) -> bool:
        """Whether all of `kind` is there, read or not."""
        return kind not in self._streams or self._streams[kind].closed

    async def whole(self, kind: type[C]) -> C | None:
        """All of `kind` gathered into one Chunk, once it has ended; None if there was none."""
        return await whole(self.stream(kind), kind)

    def forget(self) -> None:
        """The Task has read nothing: it begins again elsewhere."""
        self.newest = self.first_read_s = None
        self._receipt = (0.0, 0.0)

    def link(self, producer: str, emitted_s: float) -> Origin:
        """The origin of a Chunk that leaves now: caused by the newest that was read."""
        asked_s, read_s = self._receipt
        return Origin(
            producer=producer,
            emitted_s=emitted_s,
            cause=self.newest,
            asked_s=asked_s,
            read_s=read_s,
        )

    def note(self, origin: Origin | None, asked_s: float, read_s: float) -> None:
        """The Task asked for a Chunk or an end at `asked_s` and got it at `read_s`.

        Of all that was read, what left last is what the Task waited for. Executors whose Tasks
        read elsewhere call it for them.
        """
        if origin and (self.newest is None or origin.emitted_s > self.newest.emitted_s):
            self.newest = origin
            self._receipt = (asked_s, read_s)


@dataclass(kw_only=True)
class Context:
    """What a Task may know of its surroundings and ask of them."""

    track_id: str
    task_id: str
    component: str
    params: BaseModel
    latency: LatencyProfile
    machine: Machine
    urgency: Callable[[], int]
    can_pause: bool = False
    """Whether the Module said so."""
    history: tuple[Exchange, ...] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the Task is cancelled; a blocking call polls it and returns soon."""
    result: dict[str, Any] = field(default_factory=dict)
    """What to add to `result_profile`, beside what the output itself tells."""

    @property
    def must_pause(self) -> bool:
        """Whether a more urgent Task wants the cores; for Modules that can pause."""
        return self.machine.must_pause(self.urgency(), self.stop)

    def must_pause_within(self, seconds: float) -> bool:
        """`must_pause`, after waiting so long for a more urgent Task to want the cores.

        Whoever is urgent because of the Chunk that has just left says so within a millisecond.
        """
        if self.machine.yielding and not self.must_pause:
            self.stop.wait(seconds)
        return self.must_pause

    async def turn(self) -> None:
        """Wait until no more urgent Task wants the cores."""
        await self.machine.turn(self.urgency(), self.stop)

    async def blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(*args)` in a thread, off the event loop."""
        return await self.machine.call(
            self.latency, self.stop, self.urgency(), function, *args, **kwargs
        )

    async def idle(self, inputs: Inputs, heard: Chunk) -> bool:
        """Wait until nobody is at work, for work ahead of need on `heard`.

        False as soon as that work has become needless: a newer Chunk is there, or the end.
        """
        jobs = (self.machine.turn(BACKGROUND, self.stop), inputs.superseded(heard))
        idle, news = (asyncio.ensure_future(job) for job in jobs)
        try:
            await asyncio.wait({idle, news}, return_when=asyncio.FIRST_COMPLETED)
            return not news.done()
        finally:
            idle.cancel()
            news.cancel()

    async def background(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`blocking` for work ahead of need: nobody lets it go first."""
        return await self.machine.call(
            self.latency, self.stop, BACKGROUND, function, *args, **kwargs
        )

    def blocking_stream(
        self, function: Callable[[Callable[[T], None]], object]
    ) -> AsyncGenerator[T, None]:
        """What `function(emit)` emits from a thread, as it comes."""
        return self.machine.stream(
            self.latency, self.stop, self.urgency(), function, pausable=self.can_pause
        )


class NoParams(BaseModel):
    """A Module without parameters."""


class Module:
    """The code that performs one `task_name`.

    A subclass names what it reads and makes, its parameters as a pydantic model `Params`, and
    writes `run`. It decides for itself whether to take a stream as it comes
    (`inputs.stream`) or to wait for the whole (`inputs.whole`). Heavy libraries are imported
    inside `load`.
    """

    task_name: ClassVar[str] = ""
    consumes: ClassVar[tuple[type[Chunk], ...]] = ()
    """Kinds that must be there."""
    uses: ClassVar[tuple[type[Chunk], ...]] = ()
    """Kinds that are read where something produces them."""
    produces: ClassVar[type[Chunk]] = Chunk
    version: ClassVar[str] = "1"
    can_pause: ClassVar[bool] = False
    """Whether `run` asks `context.must_pause` between Chunks and lets a more urgent Task go."""
    concurrency: ClassVar[int] = 8
    """How many Tasks one instance runs at once; further ones queue."""
    batches: ClassVar[bool] = False
    """Whether Tasks at once share each step of its model: two take less than twice as long."""
    timeout_s: ClassVar[float] = 120.0
    """How long a Task may take after its input is complete, unless the Component says otherwise."""

    results: ClassVar[Mapping[str, str]] = {}
    """What each key of its `result_profile` means, beside those of the Chunk itself; for the docs
    and for the contract, which refuses keys that are not told here."""
    measures: ClassVar[Mapping[str, str]] = {}
    """What each `model_`, `transfer_` and `wait_` key of its `latency_profile` means."""
    raises: ClassVar[tuple[type[TurnlabError], ...]] = ()
    """The errors that are its own."""
    cost: ClassVar[str] = "Nothing: it runs on this machine."
    """What a Task costs, in words."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions that carry its engine, its weights or its words, whichever of them are
    installed: a Run is pinned to their versions."""

    Params: type[BaseModel] = NoParams

    def __init__(self, params: BaseModel) -> None:
        self.params: Any = params

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.task_name:
            _check_declaration(cls)

    @classmethod
    def wired(cls, params: BaseModel) -> type[Module]:
        """The class whose kinds are those that it has under `params`: by default itself.

        A Module whose parameters choose its kinds gives a subclass that names them, always the
        same one for the same kinds, since loaded instances are shared by class.
        """
        return cls

    @classmethod
    def lanes(cls, params: Any) -> int:
        """How many of an instance's Tasks compute at once; the others of its `concurrency` wait."""
        return cls.concurrency

    @classmethod
    def missing(cls, params: BaseModel) -> list[str]:
        """What must be installed or given before it can run here, in words; empty if nothing.

        A text leads to MissingModel, a `turnlab.errors.Missing` to the error that it names.
        """
        return []

    @classmethod
    def pinned(cls, params: BaseModel) -> Mapping[str, str]:
        """What its results depend on beside its parameters, by name, such as the hash of a file
        or the address of a server; never a secret. Asked for once, before a Run.

        A Run that was interrupted goes on only if it is still the same.
        """
        return {}

    def load(self) -> None:
        """Heavy work, once per instance and process, in a thread. Raises MissingModel."""

    def warm(self, params: BaseModel) -> None:
        """Make the first Task as fast as later ones; called after `load`, in a thread."""

    def close(self) -> None:
        """Free what `load` took."""

    def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        """Read Chunks from `inputs`, yield Chunks of the kind that it produces."""
        raise InvalidModule(f"{type(self).__name__} does not define run().")

    @classmethod
    def check_params(cls, values: Mapping[str, Any]) -> BaseModel:
        """`values` as validated Params. Raises InvalidParams that names the nearest field."""
        for name in values:
            if name not in cls.Params.model_fields:
                raise InvalidParams(f"{cls.task_name} has no parameter {name!r}{_hint(cls, name)}")
        try:
            checked = cls.Params.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            where = f"{place}: " if place else ""
            what = first["msg"].removeprefix("Value error, ").removesuffix(".")
            raise InvalidParams(f"{cls.task_name}: {where}{what}.") from error
        for name, value in checked.model_dump().items():
            if problem := unfit(value):
                raise InvalidParams(f"{cls.task_name}: {name}: {problem}.")
        return checked

    @classmethod
    def shown(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values` of its parameters as people may see them: what may be a secret is masked.

        That is what is declared as one, what is called like one, parameters that it does not
        have, and what stands before the host or after the question mark of an address.
        """
        fields = cls.Params.model_fields
        hidden = {name for name, field in fields.items() if "Secret" in str(field.annotation)}
        hidden |= set(values) - set(fields)
        return {name: MASK if name in hidden else _masked(name, v) for name, v in values.items()}

    @classmethod
    def instance_key(cls, params: BaseModel) -> str:
        """Tasks with the same key share one loaded instance."""
        names = [n for n, f in cls.Params.model_fields.items() if _is_loaded(f.json_schema_extra)]
        text = params.model_dump_json(include=set(names))
        return f"{cls.task_name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _check_declaration(cls: type[Module]) -> None:
    """Refuse a class that could not be wired, when it is defined rather than when it runs."""
    if not isinstance(cls.task_name, str) or not cls.task_name.isidentifier():
        raise InvalidModule(f"task_name {cls.task_name!r} of {cls.__name__} is no identifier.")
    for name in ("consumes", "uses"):
        kinds = getattr(cls, name)
        if not isinstance(kinds, tuple) or not all(_is_kind(kind) for kind in kinds):
            raise InvalidModule(
                f"{name} of {cls.__name__} must be a tuple of Chunk classes, such as (Reply,)."
            )
    if not _is_kind(cls.produces):
        raise InvalidModule(f"produces of {cls.__name__} must be one Chunk class, such as Speech.")
    if not inspect.isasyncgenfunction(cls.run) and cls.run is not Module.run:
        raise InvalidModule(
            f"run of {cls.__name__} is no async generator: write `async def run` and yield what "
            "it makes."
        )
    if not (isinstance(cls.Params, type) and issubclass(cls.Params, BaseModel)):
        raise InvalidModule(f"Params of {cls.__name__} must be a pydantic model.")


def _masked(name: str, value: Any) -> Any:
    """`value` of what is called `name`, without what may be a secret in it."""
    if isinstance(value, Mapping):
        return {key: _masked(str(key), each) for key, each in value.items()}
    if isinstance(value, str):
        if _SECRET.search(name) and not name.endswith("_variable"):
            return MASK
        return _ADDRESS.sub(MASK, value) if "://" in value else value
    return value


def unfit(value: object) -> str:
    """What keeps a parameter from being recorded as JSON in UTF-8; empty if nothing does."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no number that could be recorded; give a finite one"
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        return "it is no text in UTF-8"
    if isinstance(value, Mapping):
        return next(filter(None, map(unfit, (*value, *value.values()))), "")
    if isinstance(value, (list, tuple, set, frozenset)):
        return next(filter(None, map(unfit, value)), "")
    return ""


def _is_kind(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Chunk) and bool(kind.kind)


def _is_loaded(extra: Any) -> bool:
    return isinstance(extra, dict) and bool(extra.get("loaded"))


def _hint(cls: type[Module], name: str) -> str:
    names = list(cls.Params.model_fields)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; it has {', '.join(names)}." if names else "; it has none."
