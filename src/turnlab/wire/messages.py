"""The messages of the protocol: plain dataclasses, one parser that takes nothing else.

`API ->` says which end sends it. Moments are on the worker's clock, which the API end translates,
except where a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from turnlab.profiles import Interval
from turnlab.wire import fields as f
from turnlab.wire.fields import Offer
from turnlab.wire.parser import Bulky as Bulky
from turnlab.wire.parser import Message as Message
from turnlab.wire.parser import Parser

PROTOCOL = 1

WINDOW = 32
"""How many Chunks of one stream may be on the way to who reads it."""

END = -1
"""The number of the end of a stream, in a cause."""


@dataclass(frozen=True, kw_only=True)
class Told(Message):
    """What a worker tells of a Task as it goes on: what it had read last, what it measured.

    `cause` is a kind and the number of its Chunk (`END`: its end), of all that was read what had
    left last.
    """

    cause: tuple[str, int] | None = field(default=None, metadata=f.CAUSE)
    asked_s: float = field(default=0.0, metadata=f.SECONDS)
    read_s: float = field(default=0.0, metadata=f.SECONDS)
    first_read_s: float | None = field(default=None, metadata=f.MAYBE_SECONDS)
    points: Mapping[str, float] = field(default_factory=dict, metadata=f.POINTS)
    intervals: tuple[Interval, ...] = field(default=(), metadata=f.INTERVALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Message):
    """-> API: the first message. `node` is the id of the API process that a relay speaks for."""

    type: ClassVar[str] = "hello"
    protocol: int = field(metadata=f.COUNT)
    worker_id: str = field(metadata=f.NAME)
    name: str = field(metadata=f.NAME)
    node: str = field(default="", metadata=f.SHORT)
    modules: tuple[Offer, ...] = field(metadata=f.OFFERS)
    concurrency: int = field(metadata=f.PLACES)
    hardware: Mapping[str, Any] = field(metadata=f.FACTS)
    pid: int = field(metadata=f.COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome(Message):
    """API ->: the worker is in. Refused Modules are never asked for, for the reason given."""

    type: ClassVar[str] = "welcome"
    worker_id: str = field(metadata=f.NAME)
    node: str = field(metadata=f.SHORT)
    accepted: tuple[str, ...] = field(metadata=f.NAMES)
    refused: Mapping[str, str] = field(metadata=f.REASONS)
    heartbeat_s: float = field(metadata=f.SECONDS)
    lease_s: float = field(metadata=f.SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Message):
    """API ->: a probe of the clock and of whether anybody is there."""

    type: ClassVar[str] = "ping"
    number: int = field(metadata=f.COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(Message):
    """-> API: the answer to a ping, and how busy the worker is."""

    type: ClassVar[str] = "pong"
    number: int = field(metadata=f.COUNT)
    got_s: float = field(metadata=f.SECONDS)
    answered_s: float = field(metadata=f.SECONDS)
    running: int = field(metadata=f.COUNT)
    memory_mib: float = field(metadata=f.NUMBER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Open(Bulky):
    """API ->: a Task. The body is JSON: `params` and `history`.

    `inputs` are kinds, their producers, and how many Chunks of each follow at once; the Module
    begins when these are there.
    """

    type: ClassVar[str] = "open"
    task: int = field(metadata=f.COUNT)
    task_id: str = field(metadata=f.NAME)
    attempt: int = field(metadata=f.COUNT)
    track_id: str = field(metadata=f.TEXT)
    component: str = field(metadata=f.TEXT)
    task_name: str = field(metadata=f.NAME)
    version: str = field(metadata=f.NAME)
    inputs: tuple[tuple[str, str, int], ...] = field(metadata=f.INPUTS)
    urgency: int = field(metadata=f.URGENCY)
    priority: int = field(metadata=f.COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class In(Bulky):
    """API ->: a Chunk of an input that left its producer at `left_s`.

    With `last_s` no other follows: the input ended at that moment.
    """

    type: ClassVar[str] = "in"
    task: int = field(metadata=f.COUNT)
    kind: str = field(metadata=f.NAME)
    number: int = field(metadata=f.COUNT)
    left_s: float = field(metadata=f.SECONDS)
    last_s: float | None = field(default=None, metadata=f.MAYBE_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class InEnd(Message):
    """API ->: an input has ended."""

    type: ClassVar[str] = "in_end"
    task: int = field(metadata=f.COUNT)
    kind: str = field(metadata=f.NAME)
    left_s: float = field(metadata=f.SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class InFail(Message):
    """API ->: an input has failed."""

    type: ClassVar[str] = "in_fail"
    task: int = field(metadata=f.COUNT)
    kind: str = field(metadata=f.NAME)
    code: str = field(metadata=f.NAME)
    message: str = field(metadata=f.TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit(Message):
    """Either way: `count` more Chunks may be sent, of the input `kind` or ("") of the output."""

    type: ClassVar[str] = "credit"
    task: int = field(metadata=f.COUNT)
    kind: str = field(default="", metadata=f.SHORT)
    count: int = field(metadata=f.SOME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Urgency(Message):
    """API ->: how urgent a Task is now."""

    type: ClassVar[str] = "urgency"
    task: int = field(metadata=f.COUNT)
    value: int = field(metadata=f.URGENCY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Message):
    """API ->: nobody wants the Task any more. The worker answers with an end of any sort."""

    type: ClassVar[str] = "cancel"
    task: int = field(metadata=f.COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Message):
    """-> API: a Module has the Task since `at_s`; the Task itself came at `got_s`. `by` names the
    Worker that a relay gave it to."""

    type: ClassVar[str] = "started"
    task: int = field(metadata=f.COUNT)
    got_s: float = field(metadata=f.SECONDS)
    at_s: float = field(metadata=f.SECONDS)
    by: str = field(default="", metadata=f.SHORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Out(Bulky, Told):
    """-> API: a Chunk that the Task made and that was sent at `sent_s`."""

    type: ClassVar[str] = "out"
    task: int = field(metadata=f.COUNT)
    kind: str = field(metadata=f.NAME)
    number: int = field(metadata=f.COUNT)
    sent_s: float = field(metadata=f.SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing(Told):
    """-> API: measurements that would not fit into the next message."""

    type: ClassVar[str] = "timing"
    task: int = field(metadata=f.COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class End(Bulky, Told):
    """-> API: the Task has completed. The body is JSON: what it adds to `result_profile`."""

    type: ClassVar[str] = "end"
    task: int = field(metadata=f.COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(Bulky, Told):
    """-> API: the Task has failed; the body as that of `end`."""

    type: ClassVar[str] = "fail"
    task: int = field(metadata=f.COUNT)
    code: str = field(metadata=f.NAME)
    message: str = field(metadata=f.TEXT)
    component: str = field(default="", metadata=f.TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Message):
    """-> API: a cancelled Task is over; its place is free."""

    type: ClassVar[str] = "stopped"
    task: int = field(metadata=f.COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities(Message):
    """-> API: what the worker serves has changed."""

    type: ClassVar[str] = "capabilities"
    modules: tuple[Offer, ...] = field(metadata=f.OFFERS)
    concurrency: int = field(metadata=f.PLACES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain(Message):
    """-> API: the worker takes no more Tasks and ends what it has."""

    type: ClassVar[str] = "drain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye(Message):
    """Either way: the connection is about to be closed, and why."""

    type: ClassVar[str] = "bye"
    code: str = field(metadata=f.SHORT)
    reason: str = field(metadata=f.TEXT)


_ALL: tuple[type[Message], ...] = (
    Hello, Welcome, Ping, Pong, Open, In, InEnd, InFail, Credit, Urgency, Cancel, Started, Out,
    Timing, End, Fail, Stopped, Capabilities, Drain, Bye,
)  # fmt: skip

_PARSER = Parser(_ALL)
TYPES = _PARSER.types
"""The messages by their type."""

read, write = _PARSER.read, _PARSER.write
