"""The turns of a film through Clusters: on a server, or in this process."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from turnlab.audio import RecordedTurn, open_image, open_recording
from turnlab.chunks import Image
from turnlab.client.camera import thinned
from turnlab.clusters.plan import make_plan, require_speech
from turnlab.errors import TurnlabError
from turnlab.tracks import Mode, TrackStatus
from turnlab.video.turns import CutTurn

if TYPE_CHECKING:
    from turnlab.cli.session import Parts
    from turnlab.client.answers import JSON
    from turnlab.client.api import Api
    from turnlab.client.patience import Patience
    from turnlab.clusters import Plan
    from turnlab.executors.embedded import EmbeddedExecutor
    from turnlab.runner import Runner


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of one turn in one Cluster."""

    turn: int
    start_s: float
    cluster: str
    status: str
    track_id: str = ""
    voice_to_voice_s: float | None = None
    transcript: str = ""
    reply: str = ""
    error: dict[str, str] | None = None

    def as_json(self) -> dict[str, Any]:
        """The trial as JSON."""
        return asdict(self)


async def on_server(
    api: Api, patience: Patience, clusters: Sequence[str], turns: Sequence[CutTurn], mode: Mode
) -> AsyncIterator[Trial]:
    """Each turn through each of the server's Clusters, one after the other."""
    for cluster in clusters:
        for turn in turns:
            try:
                ended = await _sent(api, patience, cluster, turn, mode)
            except TurnlabError as error:
                yield _failed(turn, cluster, error)
            else:
                yield Trial(turn=turn.number, start_s=turn.start_s, **ended)


async def _sent(api: Api, patience: Patience, cluster: str, turn: CutTurn, mode: Mode) -> JSON:
    from turnlab.client.following import follow, outcome

    request, key = {"cluster": cluster, "mode": str(mode)}, uuid.uuid4().hex
    images = thinned(turn.images)
    made = await patience.persist(lambda: api.start_track(request, turn.audio, images, key))
    ended = outcome(await follow(api, patience, str(made["track_id"])))
    return {name: value for name, value in ended.items() if name != "conversation_id"}


async def in_this_process(
    parts: Parts, clusters: Sequence[str], turns: Sequence[CutTurn], mode: Mode
) -> AsyncIterator[Trial]:
    """Each turn through each Cluster, as `turnlab run` does; its models are loaded once."""
    from turnlab.cli.session import open_runner

    async with open_runner() as (runner, executor):
        for cluster in clusters:
            try:
                plan = _plan(parts, cluster)
                await executor.keep_only(plan)
                await executor.prepare(plan)
            except TurnlabError as error:
                for turn in turns:
                    yield _failed(turn, cluster, error)
                continue
            for turn in turns:
                yield await _run(runner, executor, plan, turn, mode)


def _plan(parts: Parts, cluster: str) -> Plan:
    from turnlab.cli.session import require_models

    plan = make_plan(parts.catalogue.get(cluster), parts.registry)
    require_speech(plan)
    require_models(plan)
    return plan


async def _run(
    runner: Runner, executor: EmbeddedExecutor, plan: Plan, turn: CutTurn, mode: Mode
) -> Trial:
    cluster = plan.cluster.name
    try:
        source = _source(plan, executor, turn)
        result = await runner.run(plan, source, mode=mode)
    except TurnlabError as error:
        return _failed(turn, cluster, error)
    return Trial(
        turn=turn.number,
        start_s=turn.start_s,
        cluster=cluster,
        status=str(result.track.status),
        track_id=result.track.track_id,
        voice_to_voice_s=result.track.voice_to_voice_s,
        transcript=result.transcript,
        reply=result.reply,
        error=_told(result.error) if result.error else None,
    )


def _source(plan: Plan, executor: EmbeddedExecutor, turn: CutTurn) -> RecordedTurn:
    """The turn as the Cluster takes it: frames only where it looks at any."""
    looks = any(Image in step.reads for step in plan.steps)
    images = tuple(open_image(path) for path in thinned(turn.images)) if looks else ()
    recording = open_recording(turn.audio)
    return RecordedTurn(recording=recording, clock=executor.clock, images=images)


def _failed(turn: CutTurn, cluster: str, error: TurnlabError) -> Trial:
    return Trial(
        turn=turn.number,
        start_s=turn.start_s,
        cluster=cluster,
        status=TrackStatus.FAILED,
        error=_told(error),
    )


def _told(error: TurnlabError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}
