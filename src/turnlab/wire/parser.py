"""The one parser of messages: each is a dataclass whose fields say what they may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from turnlab.errors import ProtocolViolation
from turnlab.wire.fields import CHECK, DUMP, TEXT
from turnlab.wire.frames import MOST_BYTES, MOST_HEADER, pack, unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What all of them share: the type that a frame names."""

    type: ClassVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class Bulky(Message):
    """One that has a body: `payload`, or where that is large the reference of a medium."""

    payload: bytes | memoryview = b""
    media: str = field(default="", metadata=TEXT)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    check: Callable[[object], Any]
    dump: Callable[[Any], Any] | None
    default: Any
    """What it is where it is not sent; MISSING if it must be."""


class Parser:
    """Turns these messages into frames and frames into these messages, and into nothing else."""

    def __init__(self, messages: Iterable[type[Message]]) -> None:
        self.types: Mapping[str, type[Message]] = {each.type: each for each in messages}
        self._fields = {each: _fields_of(each) for each in self.types.values()}

    def write(self, message: Message) -> bytes:
        """The frame of `message`. Raises ValueError if it is too large or no JSON."""
        document: dict[str, Any] = {"type": message.type}
        for each in self._fields[type(message)]:
            value = getattr(message, each.name)
            if value is not each.default and value != each.default:
                document[each.name] = value if each.dump is None else each.dump(value)
        payload = bytes(message.payload) if isinstance(message, Bulky) else b""
        return pack(document, payload, most_document=MOST_HEADER)

    def read(self, data: bytes | memoryview) -> Message:
        """The message in a frame. Raises ProtocolViolation for whatever is not exactly one."""
        if len(data) > MOST_BYTES:
            raise ProtocolViolation(f"A frame of {len(data)} bytes is larger than {MOST_BYTES}.")
        document, payload = unpack(data, MOST_HEADER)
        name = document.pop("type", None)
        cls = self.types.get(name) if isinstance(name, str) else None
        if cls is None:
            raise ProtocolViolation(f"{name!r:.100} is no type of message.")
        values = self._checked(cls, document)
        if issubclass(cls, Bulky):
            values["payload"] = payload
        elif len(payload):
            raise ProtocolViolation(f"A {name} was sent with {len(payload)} bytes of payload.")
        return cls(**values)

    def _checked(self, cls: type[Message], document: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for each in self._fields[cls]:
            if each.name in document:
                try:
                    values[each.name] = each.check(document.pop(each.name))
                except (ValueError, TypeError, OverflowError) as error:
                    what = f"{each.name} of a {cls.type}: {error!s:.200}."
                    raise ProtocolViolation(what) from error
            elif each.default is MISSING:
                raise ProtocolViolation(f"A {cls.type} was sent without {each.name}.")
        if document:
            unknown = f"{list(document)!r:.200}"
            raise ProtocolViolation(f"A {cls.type} was sent with the unknown {unknown}.")
        return values


def _fields_of(cls: type[Message]) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            name=each.name,
            check=each.metadata[CHECK],
            dump=each.metadata[DUMP],
            default=_default_of(each),
        )
        for each in fields(cls)
        if each.name != "payload"
    )


def _default_of(each: Any) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()
