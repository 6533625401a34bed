from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from turnlab.chunks import Audio, Emotion, Image, Passage, Passages, Reply, Speech, Transcript
from turnlab.conversations import Conversation, Exchange
from turnlab.errors import UnknownConversation
from turnlab.records import ContentKind
from turnlab.runner import Runner
from turnlab.server import queries
from turnlab.server.journal import Journal
from turnlab.server.media import default_storage
from turnlab.testing import Rig, scripted

SOUND = np.full(160, 0.5, dtype=np.float32)
VOICE = Audio(samples=SOUND, sample_rate=16_000)
PIXEL = Image(data=b"\x89PNG\r\n\x1a\n...", media_type="image/png")


def talking(*replies: str) -> Rig:
    """A Cluster that hears `hello`, and replies one after the other of `replies`."""
    left = iter(replies)

    class Replying(scripted("reply", [Transcript], Reply)):
        """Replies, or fails where there is nothing to reply."""

        async def run(self, inputs, context):
            text = next(left)
            if not text:
                raise RuntimeError("nothing to say")
            yield Reply(text=text)

    return Rig(
        scripted("hear", [Audio], Transcript, Transcript(text="hello", final=True)), Replying
    )


async def test_a_turn_knows_the_turns_before_it_and_adds_its_own() -> None:
    rig = talking("one", "two")
    conversation = Conversation()
    for _ in range(2):
        result = await rig.run(VOICE, conversation=conversation)
        assert result.track.conversation_id == conversation.id
    assert [e.reply for e in conversation.exchanges] == ["one", "two"]
    assert conversation.exchanges[0].text == "hello"


async def test_a_turn_that_failed_is_no_part_of_the_conversation() -> None:
    rig = talking("", "two")
    conversation = Conversation()
    for _ in range(2):
        await rig.run(VOICE, conversation=conversation)
    assert [e.reply for e in conversation.exchanges] == ["two"]


def recorded(rig: Rig, *script, turns: int = 1) -> Conversation:
    """A Conversation of so many turns, in the records."""
    journal = Journal()
    runner = Runner(rig.executor, journal)
    conversation = Conversation()

    async def run() -> None:
        for _ in range(turns):
            await rig.drive(runner.run(rig.plan, rig.turn(*script), conversation=conversation))

    asyncio.run(run())
    journal.close()
    return conversation


def test_a_conversation_can_be_gone_on_with_from_the_records(database: Path) -> None:
    conversation = recorded(talking("one", "", "three"), VOICE, turns=3)
    found = queries.get_conversation(conversation.id)
    assert found == conversation
    assert [e.reply for e in found.exchanges] == ["one", "three"]
    ((listed, tracks),) = queries.list_conversations()
    assert (listed.id, tracks) == (conversation.id, 3)


def test_reading_a_conversation_takes_no_more_queries_the_longer_it_is(database: Path) -> None:
    short, long = (recorded(talking(*"abcde"[:n]), VOICE, turns=n) for n in (1, 5))
    asked = []
    for conversation in (short, long):
        with CaptureQueriesContext(connection) as queried:
            assert queries.get_conversation(conversation.id) == conversation
        asked.append(len(queried))
    assert asked[0] == asked[1]


def test_only_the_newest_text_of_a_turn_counts(database: Path) -> None:
    partly = Transcript(text="hel"), Transcript(text="hello", final=True)
    rig = Rig(
        scripted("hear", [Audio], Transcript, *partly),
        scripted("reply", [Transcript], Reply, Reply(text="")),
        scripted("speak", [Reply], Speech, Speech(samples=SOUND, sample_rate=16_000, text="Yes.")),
    )
    conversation = recorded(rig, VOICE)
    found = queries.get_conversation(conversation.id)
    assert found.exchanges == [Exchange(text="hello", reply="Yes.")]


def test_a_voice_model_tells_what_it_heard_and_said(database: Path) -> None:
    class Voice(scripted("voice2voice", [Audio], Speech)):
        """Speech to speech."""

        async def run(self, inputs, context):
            context.result["transcript"] = "How are you?"
            yield Speech(samples=SOUND, sample_rate=16_000, text="Fine,")
            yield Speech(samples=SOUND, sample_rate=16_000, text="thanks.")

    conversation = recorded(Rig(Voice), VOICE)
    exchange = Exchange(text="How are you?", reply="Fine, thanks.")
    assert conversation.exchanges == [exchange]
    assert queries.get_conversation(conversation.id).exchanges == [exchange]


@pytest.mark.parametrize("id_", ["", "C-1", "C-" + "0" * 32, "../etc/passwd"])
def test_a_conversation_that_is_not_there(database: Path, id_: str) -> None:
    with pytest.raises(UnknownConversation):
        queries.get_conversation(id_)


def test_pictures_and_contexts_are_kept(database: Path) -> None:
    emotion = Emotion(values={"T": 0.5, "M": 0.5}, labels={"M": "happy"}, missing={"V": "no face"})
    passages = Passages(items=(Passage(text="Blue.", source="sky.txt", score=0.9),))
    rig = Rig(
        scripted("look", [Audio], Emotion, emotion), scripted("find", [Audio], Passages, passages)
    )
    recorded(rig, PIXEL, PIXEL, VOICE)
    (track,) = queries.list_tracks()
    _, _, contents = queries.get_track(track.track_id)
    by_kind = {kind: [c for c in contents if c.kind is kind] for kind in ContentKind}
    assert [c.profile for c in by_kind[ContentKind.CONTEXT_EMOTION]] == [emotion.profile()]
    assert [c.profile for c in by_kind[ContentKind.CONTEXT_RAG]] == [passages.profile()]
    pictures = by_kind[ContentKind.DATA_IMAGE]
    assert [c.media_type for c in pictures] == ["image/png"] * 2
    with default_storage.open(pictures[0].file) as file:
        assert file.read() == PIXEL.data
