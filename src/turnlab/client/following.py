"""A Track that was started elsewhere, to its end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from turnlab.client.answers import JSON
from turnlab.client.api import Api
from turnlab.client.patience import FIRST_S, Later, Patience
from turnlab.clock import Clock, MonotonicClock
from turnlab.tracks import TrackStatus


async def follow(api: Api, patience: Patience, track_id: str, clock: Clock | None = None) -> JSON:
    """The Track once it has ended, also where the server restarts meanwhile.

    Raises what `Api.track` raises, Later apart.
    """
    clock = clock or MonotonicClock()
    while True:
        try:
            async with aclosing(api.events(track_id)) as events:
                async for event in events:
                    if event.event == "end":
                        break
        except Later:
            pass  # what became of it is asked for next, patiently
        track = await patience.persist(lambda: api.track(track_id))
        if TrackStatus(str(track.get("status"))).ended:
            return track
        await clock.sleep_until(clock.now() + FIRST_S)


def outcome(track: Mapping[str, Any]) -> JSON:
    """What became of a Track, in short: how it ended, what was said and replied, how soon."""
    return {
        "track_id": track.get("track_id"),
        "cluster": track.get("cluster"),
        "status": track.get("status"),
        "conversation_id": track.get("conversation_id"),
        "transcript": text_of(track, "DataText"),
        "reply": text_of(track, "ResText") or text_of(track, "ResSpeech"),
        "voice_to_voice_s": track.get("voice_to_voice_s"),
        "error": track.get("error"),
    }


def text_of(track: Mapping[str, Any], kind: str) -> str:
    """The text of the newest content of `kind`; empty if there is none."""
    return str((newest(track, kind) or {}).get("text") or "")


def newest(track: Mapping[str, Any], kind: str) -> JSON | None:
    """The newest content of `kind` that a Track's records hold."""
    contents = [each for each in track.get("contents", ()) if each.get("kind") == kind]
    return contents[-1] if contents else None
