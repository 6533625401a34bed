"""Runs turns: one plan, one source of input, one Track each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlab.clusters.plan import Plan
from turnlab.conversations import Conversation, Exchange
from turnlab.errors import ClusterNotRunnable
from turnlab.records import Recorder
from turnlab.tracks import Mode, Replay
from turnlab.turn import Turn
from turnlab.turn_result import TurnResult
from turnlab.work import Executor, Observer, Priority, Source


class Runner:
    """Runs turns on one executor and writes them to one recorder."""

    def __init__(
        self, executor: Executor, recorder: Recorder, host: Mapping[str, Any] | None = None
    ) -> None:
        self._executor = executor
        self._recorder = recorder
        self._host = dict(host or {})

    async def run(
        self,
        plan: Plan,
        source: Source,
        *,
        mode: Mode = Mode.STREAMED,
        conversation: Conversation | None = None,
        observer: Observer | None = None,
        track_id: str | None = None,
        priority: Priority = Priority.LIVE,
        replay: Replay | None = None,
    ) -> TurnResult:
        """One turn of `source` through `plan`, to its end.

        Its records are durable before it returns; raises RecordingFailed if they cannot be.
        A turn of a `conversation` knows its earlier exchanges, and adds its own if it
        completes. A failed Component fails the Track and comes back as `error`. `replay` says which
        turn of a Run it is, of which more is recorded: see turn_trace. Cancelling this
        call cancels the Track: its Tasks stop, and their records say so. Raises
        ClusterNotRunnable if `source` lacks a kind that the Cluster needs.
        """
        turn = self.turn(
            plan,
            source,
            mode=mode,
            conversation=conversation,
            observer=observer,
            track_id=track_id,
            priority=priority,
            replay=replay,
        )
        result = await turn.run()
        await self._recorder.flush()
        return result

    def turn(
        self,
        plan: Plan,
        source: Source,
        *,
        mode: Mode = Mode.STREAMED,
        conversation: Conversation | None = None,
        observer: Observer | None = None,
        track_id: str | None = None,
        priority: Priority = Priority.LIVE,
        history: tuple[Exchange, ...] = (),
        replay: Replay | None = None,
    ) -> Turn:
        """The turn that `run` runs, not begun yet; `track_id` is that of a Track accepted before.

        `history` stands for the Conversation's where there is none. Raises ClusterNotRunnable as
        `run` does.
        """
        lacking = plan.needs - set(source.kinds)
        if lacking:
            kinds = " and ".join(sorted(kind.kind for kind in lacking))
            raise ClusterNotRunnable(f"{plan.cluster.name} needs {kinds} from the user; give some.")
        return Turn(
            plan,
            source,
            executor=self._executor,
            recorder=self._recorder,
            mode=mode,
            conversation=conversation,
            observer=observer or Observer(),
            host=self._host,
            track_id=track_id,
            priority=priority,
            history=history,
            replay=replay,
        )
