"""`turnlab listen`: what is heard becomes turns, and every turn a Track."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from turnlab.chunks import Image
from turnlab.client.answers import JSON
from turnlab.client.api import Api
from turnlab.client.camera import Camera
from turnlab.client.following import follow, outcome
from turnlab.client.microphone import Source
from turnlab.client.patience import Patience, first_of
from turnlab.client.saying import Say
from turnlab.client.segmenter import Heard, Segmenter
from turnlab.client.spool import Spool, Waiting
from turnlab.errors import Forbidden, InvalidToken, TurnlabError

FOLLOWED = 8
"""Tracks that are followed at once."""

STOPPED_GRACE_S = 5.0
"""How long a turn that was cut short by Ctrl-C may still be uploaded."""

_OF_THE_TOKEN = (InvalidToken, Forbidden)
"""Failures that no turn is to blame for: it waits in the spool until there is another token."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the turns of one `turnlab listen` have in common."""

    id: str
    """Names the session in the spool; empty where its turns belong to no Conversation."""
    request: JSON
    """What is asked of every Track, without its Conversation."""
    consent: str = ""
    quiet: bool = False
    """Whether Tracks are left alone once they are accepted."""
    grace_s: float = 60.0
    """How long what was heard is still tried to be uploaded once there is nothing more to hear."""


class Listening:
    """Hears, uploads and follows, all at the same time."""

    def __init__(
        self, api: Api, spool: Spool, session: Session, say: Say, camera: Camera | None = None
    ) -> None:
        self._api = api
        self._spool = spool
        self._session = session
        self._say = say
        self._camera = camera
        self._patience = Patience(say)
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._over = False
        self._followed = asyncio.Semaphore(FOLLOWED)
        self._following: set[asyncio.Task[None]] = set()
        self.failed = 0
        """Turns that were refused, and Tracks that did not complete."""

    async def run(self, source: Source, segmenter: Segmenter, stop: asyncio.Event) -> None:
        """Listen until `source` ends or `stop` is set, then see what was heard to its end.

        What cannot be uploaded by then stays in the spool. Raises InvalidToken and Forbidden as
        soon as they come, and what `source` raises.
        """
        delivering = asyncio.ensure_future(self._deliver())
        hearing = asyncio.ensure_future(self._hear(source, segmenter, stop))
        try:
            await asyncio.wait({delivering, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if not hearing.done():  # delivering has failed
                stop.set()
            await asyncio.wait({hearing})
            await self._finish(delivering, stop)
            hearing.result()
        finally:
            for task in (hearing, delivering, *self._following):
                task.cancel()

    async def _hear(self, source: Source, segmenter: Segmenter, stop: asyncio.Event) -> None:
        try:
            async with aclosing(source.blocks()) as blocks:
                while True:
                    block = await first_of(asyncio.ensure_future(anext(blocks, None)), stop)
                    if block is None:
                        break
                    for heard in await asyncio.to_thread(segmenter.feed, block):
                        await self._keep(heard, source.live, stop)
        finally:
            # Whatever ended it: what was said so far is a turn.
            if heard_last := segmenter.flush():
                await self._keep(heard_last, source.live, stop)

    async def _keep(self, heard: Heard, live: bool, stop: asyncio.Event) -> None:
        """Put a turn into the spool. Only what cannot wait is lost where that is full."""
        while not live and not stop.is_set() and self._spool.full():
            self._room.clear()
            await first_of(asyncio.ensure_future(self._room.wait()), stop)
        if live and self._spool.full():
            self.failed += 1
            lost = {"start_s": heard.start_s, "duration_s": heard.duration_s}
            self._say.warn("lost", f"the spool is full: {heard.duration_s:.1f} s were lost", **lost)
            return
        images: Sequence[Image] = ()
        if self._camera is not None:
            images = self._camera.between(heard.start_s, heard.end_s)
        turn = await asyncio.to_thread(self._put, heard, images)
        self._tell_heard(turn, heard, len(images))
        self._news.set()

    def _put(self, heard: Heard, images: Sequence[Image]) -> Waiting:
        asked = self._session
        return self._spool.put(
            heard, images, request=asked.request, session=asked.id, consent=asked.consent
        )

    def _tell_heard(self, turn: Waiting, heard: Heard, images: int) -> None:
        words = f"{heard.duration_s:.1f} s" + (", and more that follows" if heard.cut else "")
        self._say(
            "heard",
            words,
            key=turn.key,
            start_s=round(heard.start_s, 3),
            end_s=round(heard.end_s, 3),
            cut=heard.cut,
            images=images,
        )

    async def _deliver(self) -> None:
        """Upload what waits, oldest first, until there is nothing more to come."""
        while True:
            self._news.clear()
            turns = await asyncio.to_thread(self._spool.waiting)
            for turn in turns:
                await self._upload(turn)
                self._room.set()
            if not turns:
                if self._over:
                    return
                await self._news.wait()

    async def _upload(self, turn: Waiting) -> None:
        try:
            conversation = await self._conversation(turn)
            request = {**turn.request, **({"conversation": conversation} if conversation else {})}
            made = await self._patience.persist(
                lambda: self._api.start_track(request, turn.audio, turn.images, turn.key)
            )
        except _OF_THE_TOKEN:
            raise
        except TurnlabError as error:
            self._refused(turn, error)
            return
        await asyncio.to_thread(self._spool.done, turn)
        self._accepted(turn, made)

    async def _conversation(self, turn: Waiting) -> str | None:
        """The Conversation of its session, begun with its first turn."""
        if not turn.session:
            return None
        if (known := self._spool.conversation(turn.session)) is not None:
            return known
        made = await self._patience.persist(lambda: self._api.new_conversation(turn.consent))
        await asyncio.to_thread(self._spool.remember, turn.session, made)
        return made

    def _refused(self, turn: Waiting, error: TurnlabError) -> None:
        kept = self._spool.refuse(turn, error)
        self.failed += 1
        words = f"the server does not take a turn: {error.message} It is kept in {kept}"
        told = {"code": error.code, "message": error.message}
        self._say.warn("refused", words, key=turn.key, error=told, kept=str(kept))

    def _accepted(self, turn: Waiting, made: JSON) -> None:
        track_id = str(made["track_id"])
        facts = {"track_id": track_id, "conversation_id": made.get("conversation_id")}
        self._say("track", track_id, key=turn.key, speech_s=round(turn.speech_s, 3), **facts)
        if not self._session.quiet:
            task = asyncio.ensure_future(self._follow(track_id))
            self._following.add(task)
            task.add_done_callback(self._following.discard)

    async def _follow(self, track_id: str) -> None:
        async with self._followed:
            try:
                ended = outcome(await follow(self._api, self._patience, track_id))
            except TurnlabError as error:
                told = {"code": error.code, "message": error.message}
                ended = {"track_id": track_id, "status": "unknown", "error": told}
        self.failed += ended["status"] != "completed"
        self._say("end", _ending(ended), **ended)

    async def _finish(self, delivering: asyncio.Future[None], stop: asyncio.Event) -> None:
        """Upload and follow what there is, as long as that is worth while."""
        self._over = True
        self._news.set()
        stopped = stop.is_set()
        grace_s = STOPPED_GRACE_S if stopped else self._session.grace_s
        limit = asyncio.ensure_future(asyncio.wait({delivering}, timeout=grace_s))
        await first_of(limit, asyncio.Event() if stopped else stop)
        if delivering.done():
            delivering.result()
        self._tell_unsent()
        if self._following:
            await first_of(asyncio.gather(*self._following), stop)

    def _tell_unsent(self) -> None:
        waiting = len(self._spool.waiting())
        self.failed += waiting
        if waiting:
            where = self._spool.folder / "waiting"
            turns = f"{waiting} turn{'' if waiting == 1 else 's'}"
            words = f"{turns} not uploaded yet; the next `turnlab listen` does it, from {where}"
            self._say.warn("unsent", words, turns=waiting, kept=str(where))


def _ending(ended: JSON) -> str:
    latency_s = ended.get("voice_to_voice_s")
    how = f"{latency_s * 1000:.0f} ms voice to voice" if latency_s is not None else "no sound"
    return f"{ended['track_id']} {ended['status']}, {how}"
