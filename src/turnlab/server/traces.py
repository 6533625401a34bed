"""Reads what Runs have recorded of Components, for predictions. Call it off the event loop."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from django.db.models import Count, Q, QuerySet

from turnlab.bench.predict.parts import parts_of_pins
from turnlab.bench.predict.records import Group, TracedTask, TracedTurn
from turnlab.modules.registry import Registry
from turnlab.profiles import SpanKind
from turnlab.runs import Run
from turnlab.server import models
from turnlab.server.runs import get_run, of_run
from turnlab.tasks import TaskStatus
from turnlab.tracks import TrackStatus

MOST_RUNS = 50
"""How many Runs are read unless they are named: the newest, which are nearest to what there is."""

_AT_ONCE = 200
"""Tracks whose traces are read at the same time."""

_TRACK = ("track_id", "cluster", "mode", "turn_id", "repeat", "speech_s", "last_voiced_s")
_TASK = ("track_id", "name", "result_json", "trace")


def load_groups(run_ids: Sequence[str], registry: Registry) -> list[Group]:
    """What the Runs recorded, by Run, Cluster and mode; of what failed or was not heard only how
    many there were. Warm-ups are left out.

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
    for rows in _batches(run.id):
        tasks = _tasks([row["track_id"] for row in rows])
        for row in rows:
            if made := tasks.get(row["track_id"]):
                turns[row["cluster"], row["mode"]].append(_turn(row, made))
    lost = _lost(run.id)
    for cluster, mode in dict.fromkeys((*turns, *lost)):
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
            parts=parts_of_pins(pinned["components"], registry, run.pins),
            turns=tuple(turns.get((cluster, mode), ())),
            dataset=run.dataset_hash,
            lost=lost[cluster, mode],
        )


def hardware(host: Mapping[str, Any]) -> str:
    """What measurements of two machines must share to be mixed."""
    return f"{host.get('processor')}, {host.get('cores')} cores, {host.get('system')}"


def _heard(run_id: str) -> QuerySet[models.Track]:
    return models.Track.objects.filter(
        of_run(run_id),
        repeat__gt=0,
        status=TrackStatus.COMPLETED.value,
        voice_to_voice_s__isnull=False,
    )


def _lost(run_id: str) -> Counter[tuple[str, str]]:
    """How many Tracks of each Cluster and mode failed, or ended without a sound."""
    silent = Q(status=TrackStatus.COMPLETED.value, voice_to_voice_s__isnull=True)
    rows = models.Track.objects.filter(
        of_run(run_id), Q(status=TrackStatus.FAILED.value) | silent, repeat__gt=0
    ).order_by()
    counted = rows.values_list("cluster", "mode").annotate(count=Count("*"))
    return Counter({(cluster, mode): count for cluster, mode, count in counted})


def _batches(run_id: str) -> Iterator[list[dict[str, Any]]]:
    """Tracks, so many at a time that their traces fit into memory beside what is made of them."""
    columns = (*_TRACK, "voice_to_voice_s", "spans", "created_at")
    rows = _heard(run_id).order_by("created_at", "track_id").values(*columns)
    left = rows.iterator(chunk_size=_AT_ONCE)
    while batch := list(islice(left, _AT_ONCE)):
        yield batch


def _tasks(track_ids: Sequence[str]) -> dict[str, dict[str, TracedTask]]:
    """By Track and Component."""
    found: dict[str, dict[str, TracedTask]] = defaultdict(dict)
    rows = models.Task.objects.filter(
        track_id__in=track_ids, status=TaskStatus.COMPLETED.value
    ).order_by("created_at", "id")
    for row in rows.values(*_TASK):
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
    """US dollars; 0 of what is charged by nobody, None where the price is unknown.

    Some Modules tell a cost for each of several calls.
    """
    if "cost_usd" not in profile:
        return None if profile.get("usage") else 0.0
    cost = profile["cost_usd"]
    costs = cost if isinstance(cost, list) else [cost]
    return None if None in costs else float(sum(costs))
