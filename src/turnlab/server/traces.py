"""Reads what Runs have recorded of Components, for predictions. Call it off the event loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from turnlab.bench.predict.parts import parts_of_pins
from turnlab.bench.predict.records import Group, TracedTask, TracedTurn
from turnlab.modules.registry import Registry
from turnlab.profiles import SpanKind
from turnlab.runs import Run
from turnlab.server import models
from turnlab.server.runs import get_run
from turnlab.tasks import TaskStatus
from turnlab.tracks import TrackStatus

MOST_RUNS = 50
"""How many Runs are read unless they are named: the newest, which are nearest to what there is."""

_TRACK = ("track_id", "cluster", "mode", "turn_id", "repeat", "speech_s", "last_voiced_s")
_TASK = ("track_id", "name", "result_json", "trace")


def load_groups(run_ids: Sequence[str], registry: Registry) -> list[Group]:
    """What the Runs recorded, by Run, Cluster and mode; warm-ups and what failed are left out.

    Raises UnknownRun.
    """
    return [group for run_id in run_ids for group in _groups(get_run(run_id), registry)]


def run_ids(
    host: Mapping[str, Any] | None = None, tasks: Collection[str] = (), most: int = MOST_RUNS
) -> list[str]:
    """The newest Runs first: those of hardware such as `host`, with one of `tasks`, if given."""
    found: list[str] = []
    rows = models.Run.objects.order_by("-created_at", "-id").values_list("id", "pins")
    for run_id, pins in rows.iterator(chunk_size=100):
        if host is not None and hardware(pins.get("host", {})) != hardware(host):
            continue
        clusters = pins.get("clusters", {}).values()
        there = {part["task_name"] for cluster in clusters for part in cluster["components"]}
        if not tasks or there.intersection(tasks):
            found.append(str(run_id))
        if len(found) >= most:
            break
    return found


def _groups(run: Run, registry: Registry) -> Iterator[Group]:
    turns: dict[tuple[str, str], list[TracedTurn]] = defaultdict(list)
    tasks = _tasks(run.id)
    for row in _tracks(run.id):
        made = tasks.pop(row["track_id"], {})
        if made:
            turns[row["cluster"], row["mode"]].append(_turn(row, made))
    for (cluster, mode), found in turns.items():
        pinned = run.pins["clusters"].get(cluster)
        if pinned is None:
            continue
        host = run.pins.get("host", {})
        yield Group(
            run_id=run.id,
            cluster=cluster,
            mode=mode,
            pace=str(run.asked.get("pace", "fast")),
            concurrency=int(run.asked.get("concurrency", 1)),
            cores=int(host.get("cores") or 1),
            hardware=hardware(host),
            began=run.created_at.isoformat(),
            parts=parts_of_pins(pinned["components"], registry),
            turns=tuple(found),
        )


def hardware(host: Mapping[str, Any]) -> str:
    """What measurements of two machines must share to be mixed."""
    return f"{host.get('processor')}, {host.get('cores')} cores, {host.get('system')}"


def _tracks(run_id: str) -> Iterator[dict[str, Any]]:
    rows = models.Track.objects.filter(
        run_id=run_id,
        repeat__gt=0,
        status=TrackStatus.COMPLETED.value,
        voice_to_voice_s__isnull=False,
    ).order_by("created_at", "track_id")
    columns = (*_TRACK, "voice_to_voice_s", "spans", "created_at")
    yield from rows.values(*columns).iterator(chunk_size=500)


def _tasks(run_id: str) -> dict[str, dict[str, TracedTask]]:
    """By Track and Component."""
    found: dict[str, dict[str, TracedTask]] = defaultdict(dict)
    rows = models.Task.objects.filter(
        track__run_id=run_id, track__repeat__gt=0, status=TaskStatus.COMPLETED.value
    ).order_by("created_at", "id")
    for row in rows.values(*_TASK).iterator(chunk_size=500):
        if row["trace"].get("end"):
            found[row["track_id"]][row["name"]] = _task(row)
    return found


def _turn(row: Mapping[str, Any], tasks: Mapping[str, TracedTask]) -> TracedTurn:
    playing = [s for s in row["spans"] if s["kind"] == SpanKind.PLAYOUT]
    return TracedTurn(
        track_id=row["track_id"],
        turn_id=row["turn_id"],
        repeat=row["repeat"],
        speech_s=row["speech_s"] or 0.0,
        last_voiced_s=row["last_voiced_s"] or 0.0,
        voice_to_voice_s=row["voice_to_voice_s"],
        playout_s=sum(span["end_s"] - span["start_s"] for span in playing),
        began_s=row["created_at"].timestamp(),
        tasks=tasks,
    )


def _task(row: Mapping[str, Any]) -> TracedTask:
    trace, result = row["trace"], row["result_json"]
    points = result.get("latency_profile", {})
    created_s = points.get("ts_created", 0.0)
    return TracedTask(
        part=row["name"],
        created_s=created_s,
        claimed_s=points.get("ts_claimed", created_s),
        chunks=trace["chunks"],
        end=trace["end"],
        intervals=trace["intervals"],
        cpu_s=trace["cpu_s"],
        cost_usd=_cost(result.get("result_profile", {})),
    )


def _cost(profile: Mapping[str, Any]) -> float | None:
    """US dollars; 0 of what is charged by nobody, None where the price is unknown."""
    cost = profile.get("cost_usd", 0.0)
    return None if cost is None else float(cost)
