"""What goes over the wire: all of it comes back as it was, and nothing else is let in."""

from __future__ import annotations

import json
import struct
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from turnlab import errors
from turnlab.chunks import (
    Audio,
    Caption,
    Chunk,
    Emotion,
    Image,
    Passage,
    Passages,
    Reply,
    Sound,
    Speech,
    Transcript,
    Value,
)
from turnlab.errors import InvalidModule, InvalidRequest, ModuleFailed, ProtocolViolation, TooLarge
from turnlab.profiles import Interval, SpanKind
from turnlab.wire import messages as m
from turnlab.wire.chunks import KINDS, decode_chunk, encode_chunk
from turnlab.wire.clocks import ClockOffset, Probe
from turnlab.wire.credit import Allowance, Grants
from turnlab.wire.failures import code_of, error_of
from turnlab.wire.fields import Offer
from turnlab.wire.frames import MOST_HEADER
from turnlab.wire.media import MOST_MEDIUM, MediaExchange, new_ref, node_of

texts = st.text(st.characters(), max_size=40)  # half surrogates too
floats = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.dictionaries(texts, floats, max_size=3)
words = st.dictionaries(texts, texts, max_size=3)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
samples = arrays.arrays(
    np.float32, st.integers(0, 50), elements=st.floats(-1, 1, width=32, allow_nan=False)
)
rates = st.integers(1, 192_000)
chunks: st.SearchStrategy[Chunk] = st.one_of(
    st.builds(Audio, samples=samples, sample_rate=rates),
    st.builds(Speech, samples=samples, sample_rate=rates, text=texts),
    st.builds(Image, data=st.binary(max_size=50), media_type=texts),
    st.builds(Transcript, text=texts, final=st.booleans()),
    st.builds(Caption, text=texts),
    st.builds(Reply, text=texts),
    st.builds(
        Emotion,
        values=numbers,
        labels=words,
        confidences=st.dictionaries(texts, numbers, max_size=2),
        missing=words,
        remark=st.none() | texts,
    ),
    st.builds(
        Passages,
        items=st.lists(st.builds(Passage, text=texts, source=texts, score=floats), max_size=3).map(
            tuple
        ),
    ),
    st.builds(Value, value=plain),
)


@settings(max_examples=300, deadline=None)
@given(chunks)
def test_a_chunk_comes_back_as_it_was_bit_for_bit(chunk: Chunk) -> None:
    back = decode_chunk(chunk.kind, encode_chunk(chunk))
    assert type(back) is type(chunk)
    if isinstance(chunk, Sound):
        assert isinstance(back, Sound)
        assert back.samples.tobytes() == chunk.samples.tobytes()
        assert back.samples.dtype == np.float32
        assert back.samples.flags.writeable
        chunk, back = (replace(each, samples=np.empty(0)) for each in (chunk, back))
        assert {**vars(chunk), "samples": 0} == {**vars(back), "samples": 0}
    else:
        assert back == chunk


@settings(max_examples=300, deadline=None)
@given(chunks, st.data())
def test_a_damaged_chunk_is_refused_or_another_chunk(chunk: Chunk, data: st.DataObject) -> None:
    encoded = bytearray(encode_chunk(chunk))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        back = decode_chunk(chunk.kind, bytes(encoded))
    except ProtocolViolation:
        return
    assert back.flaw() == ""


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(sorted(KINDS)))
def test_garbage_is_neither_a_chunk_nor_a_message(data: bytes, kind: str) -> None:
    with pytest.raises(ProtocolViolation):
        decode_chunk(kind, data)
    with pytest.raises(ProtocolViolation):
        m.read(data)


def frame(header: object, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">I", len(text)) + text + payload


INTERVAL = Interval(kind=SpanKind.MODEL, label="script", start_s=1.5, end_s=2.0)
TOLD: dict[str, Any] = {
    "cause": ("Audio", m.END),
    "asked_s": 1.0,
    "read_s": 2.5,
    "first_read_s": 0.5,
    "points": {"half": 3.0},
    "intervals": (INTERVAL,),
}
OFFER = Offer("speech2text", "1", True, 8)
EXAMPLES: list[m.Message] = [
    m.Hello(
        protocol=1,
        worker_id="w" * 16,
        name="lab",
        node="n",
        modules=(OFFER,),
        concurrency=4,
        hardware={"cores": 2, "engines": {"a": "1"}},
        pid=7,
    ),
    m.Welcome(
        worker_id="w" * 16,
        node="n",
        accepted=("a",),
        refused={"b": "why"},
        heartbeat_s=5.0,
        lease_s=15.0,
    ),
    m.Ping(number=3),
    m.Pong(number=3, got_s=1.0, answered_s=2.0, running=1, memory_mib=20.5),
    m.Open(
        task=1,
        task_id="t",
        attempt=2,
        track_id="T-A-0",
        component="reply",
        task_name="llm",
        version="1",
        inputs=(("Audio", "user", 3),),
        urgency=2,
        priority=1,
        payload=b"{}",
    ),
    m.In(task=1, kind="Audio", number=0, left_s=3.0, last_s=4.0, media="n.x"),
    m.InEnd(task=1, kind="Audio", left_s=3.0),
    m.InFail(task=1, kind="Audio", code="upstream_failed", message="it failed"),
    m.Credit(task=1, kind="Audio", count=8),
    m.Urgency(task=1, value=-3),
    m.Cancel(task=1),
    m.Started(task=1, got_s=1.0, at_s=2.0, by="w"),
    m.Out(task=1, kind="Reply", number=0, sent_s=3.0, payload=b"x", **TOLD),
    m.Timing(task=1, **TOLD),
    m.End(task=1, payload=b"{}", **TOLD),
    m.Fail(task=1, code="module_failed", message="it failed", component="reply", **TOLD),
    m.Stopped(task=1),
    m.Capabilities(modules=(OFFER,), concurrency=3),
    m.Drain(),
    m.Bye(code="", reason="the worker stops"),
]


def test_there_is_an_example_of_each_message() -> None:
    assert {type(each) for each in EXAMPLES} == set(m.TYPES.values())


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda each: each.type)
def test_a_message_comes_back_as_it_was(message: m.Message) -> None:
    assert m.read(m.write(message)) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda each: each.type)
@pytest.mark.parametrize(
    "wrong", [None, "x" * 2001, -(2**60), 1.5, True, [1], [[]], {"a": {}}, {"": 0}, 1e300], ids=repr
)
def test_a_field_of_another_type_is_refused_or_fits(message: m.Message, wrong: object) -> None:
    """No field lets the parser raise anything else."""
    written = m.write(message)
    (length,) = struct.unpack_from(">I", written)
    header = json.loads(written[4 : 4 + length])
    for name in header:
        try:
            m.read(frame({**header, name: wrong}, written[4 + length :]))
        except ProtocolViolation:
            continue


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda each: each.type)
def test_what_is_missing_or_unknown_is_refused(message: m.Message) -> None:
    written = m.write(message)
    (length,) = struct.unpack_from(">I", written)
    header = json.loads(written[4 : 4 + length])
    with pytest.raises(ProtocolViolation, match="unknown"):
        m.read(frame({**header, "surprise": 1}, written[4 + length :]))
    for each in fields(message):
        needed = each.default is each.default_factory and each.name in header
        if needed:
            with pytest.raises(ProtocolViolation, match=each.name):
                m.read(frame({k: v for k, v in header.items() if k != each.name}))
    if not isinstance(message, m.Bulky):
        with pytest.raises(ProtocolViolation, match="payload"):
            m.read(frame(header, b"x"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0",
        struct.pack(">I", 100) + b"{}",
        struct.pack(">I", MOST_HEADER + 1) + b" " * (MOST_HEADER + 1),
        frame([]),
        frame(b"\xff"),
        frame(b"[" * 50_000),
        frame({"type": "no such"}),
        frame({"type": ["ping"]}),
        frame(b'{"type":"ping","number":NaN}'),
        frame(b'{"type":"ping","number":' + b"9" * 5000 + b"}"),
        frame(b'{"type":"in_end","task":0,"kind":"Audio","left_s":1e999}'),
        b"\0" * (4 * 2**20 + 1),
    ],
    ids=lambda data: data[:24],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        m.read(data)


def test_a_header_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(ValueError, match="more than"):
        m.write(replace(EXAMPLES[0], hardware={"a": "x" * MOST_HEADER}))  # type: ignore[call-arg]


class Smell(Chunk):
    """A kind of a user's own."""

    kind = "Smell"


@pytest.mark.parametrize(
    "chunk", [Smell(), Value(value=float("nan")), Value(value=object()), Value(value={1: 2j})]
)
def test_what_cannot_be_sent_is_the_modules_fault(chunk: Chunk) -> None:
    with pytest.raises(InvalidModule):
        encode_chunk(chunk)


# Errors


def test_every_error_keeps_its_class() -> None:
    known = [each for each in vars(errors).values() if isinstance(each, type)]
    for cls in known:
        if issubclass(cls, errors.TurnlabError):
            back = error_of(cls.code, "what happened", "reply")
            assert type(back) is cls
            assert (back.message, back.component) == ("what happened", "reply")


def test_an_error_that_nobody_knows_becomes_module_failed() -> None:
    class Strange(errors.TurnlabError):
        """It is strange."""

        code = "strange\n" * 100

    assert code_of(Strange()) == "module_failed"
    back = error_of("strange", "it is", "")
    assert type(back) is ModuleFailed
    assert "strange" in back.message


# Clocks


def probe(offset_s: float, there_s: float, back_s: float, at_s: float = 100.0) -> Probe:
    """A probe that took `there_s` one way and `back_s` the other."""
    got_s = at_s + there_s + offset_s
    return Probe(
        sent_s=at_s, got_s=got_s, answered_s=got_s + 0.001, back_s=at_s + there_s + 0.001 + back_s
    )


@given(st.floats(-1e6, 1e6), st.floats(0, 1), st.floats(0, 1))
def test_the_offset_is_wrong_by_at_most_half_the_round_trip(
    offset_s: float, there_s: float, back_s: float
) -> None:
    offset = ClockOffset()
    offset.add(probe(offset_s, there_s, back_s))
    assert abs(offset.offset_s - offset_s) <= offset.round_trip_s / 2 + 1e-6
    assert offset.here(offset.there(5.0)) == pytest.approx(5.0)


def test_the_fastest_probe_counts_until_the_clocks_may_have_parted() -> None:
    offset = ClockOffset()
    offset.add(probe(10.0, 0.020, 0.001))
    offset.add(probe(10.0, 0.001, 0.001, at_s=101))
    offset.add(probe(10.0, 0.001, 0.030, at_s=102))
    assert offset.offset_s == pytest.approx(10.0, abs=1e-6)
    offset.add(probe(10.1, 0.002, 0.002, at_s=1_000))
    assert offset.offset_s == pytest.approx(10.1, abs=1e-6)


def test_time_that_runs_backwards_there_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        ClockOffset().add(Probe(sent_s=1.0, got_s=5.0, answered_s=4.0, back_s=2.0))
    with pytest.raises(ProtocolViolation):
        ClockOffset().add(Probe(sent_s=1.0, got_s=5.0, answered_s=9.0, back_s=2.0))


# Credit


async def test_nobody_sends_or_grants_more_than_was_read() -> None:
    granted: list[int] = []
    grants, allowance = Grants(granted.append), Allowance()
    for _ in range(m.WINDOW):
        await allowance.take()
        grants.arrived()
    with pytest.raises(ProtocolViolation):
        grants.arrived()
    for _ in range(m.WINDOW):
        grants.taken()
    assert sum(granted) == m.WINDOW
    allowance.add(m.WINDOW)
    with pytest.raises(ProtocolViolation):
        allowance.add(1)


# Media


async def pieces(*parts: bytes) -> Any:
    for part in parts:
        yield part


async def test_media_are_kept_until_they_are_deleted() -> None:
    media = MediaExchange("node-1")
    ref = await media.put(b"abc")
    assert node_of(ref) == "node-1"
    assert await media.get(ref) == b"abc"
    path = media.path(ref)
    await media.delete(ref)
    await media.delete(ref)
    with pytest.raises(InvalidRequest):
        await media.get(ref)
    assert not path.exists()
    media.close()
    assert not path.parent.exists()


async def test_media_are_limited_one_by_one_and_together() -> None:
    media = MediaExchange("node-1")
    with pytest.raises(TooLarge):
        await media.receive(new_ref("node-1"), pieces(b"x" * MOST_MEDIUM, b"x"))
    media.close()
    media = MediaExchange("node-1", most_bytes=10)
    kept = await media.put(b"x" * 8)
    with pytest.raises(TooLarge):
        await media.put(b"xxx")
    await media.delete(kept)
    await media.put(b"xxx")
    media.close()


@pytest.mark.parametrize(
    "ref", ["", "../x", "node-1.short", "node-1." + "a" * 44, "a/b." + "c" * 43]
)
async def test_no_reference_leads_out_of_the_folder(ref: str) -> None:
    media = MediaExchange("node-1")
    for asked in (media.get(ref), media.receive(ref, pieces(b"x"))):
        with pytest.raises(InvalidRequest):
            await asked
    await media.delete(ref)
    media.close()


async def test_a_reference_is_given_once_and_by_its_node() -> None:
    media = MediaExchange("node-1")
    ref = await media.put(b"abc")
    with pytest.raises(InvalidRequest):
        await media.receive(ref, pieces(b"other"))
    with pytest.raises(InvalidRequest):
        await media.receive(new_ref("node-2"), pieces(b"other"))
    assert await media.get(ref) == b"abc"
    media.close()
