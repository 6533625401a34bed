"""/metrics: what Prometheus reads of this process, and of the tables that all processes share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from turnlab.errors import DatabaseUnavailable, NotReady
from turnlab.server import health, signals
from turnlab.server.api.database import in_database
from turnlab.server.api.security import authorised
from turnlab.server.config import config
from turnlab.server.node import Node, current_node
from turnlab.server.problems import Refused, answer

LATENCIES_S = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Bounds of the histograms; a gap of 0.8 s feels good, 1.5 s is the limit."""

registry = CollectorRegistry()
"""Of its own, so that nothing else in the process adds to it."""

TRACKS = Counter(
    "turnlab_tracks_total",
    "Tracks that ended in this process.",
    ("cluster", "status"),
    registry=registry,
)
TASKS = Counter(
    "turnlab_tasks_total",
    "Tasks that ended in this process; code is that of the error, empty for none.",
    ("task_name", "status", "code"),
    registry=registry,
)
VOICE_TO_VOICE = Histogram(
    "turnlab_voice_to_voice_seconds",
    "From the last voiced sample to the first audible one of the reply.",
    ("cluster",),
    buckets=LATENCIES_S,
    registry=registry,
)
REQUESTS = Counter(
    "turnlab_http_requests_total",
    "HTTP requests that were answered.",
    ("method", "route", "status"),
    registry=registry,
)
REQUEST_TIME = Histogram(
    "turnlab_http_request_seconds",
    "Until the head of the answer was ready.",
    ("method", "route"),
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0),
    registry=registry,
)


def _count_track(sender: Any, data: dict[str, Any], **_: Any) -> None:
    TRACKS.labels(data["cluster"], str(data["status"])).inc()
    if data["voice_to_voice_s"] is not None:
        VOICE_TO_VOICE.labels(data["cluster"]).observe(data["voice_to_voice_s"])


def _count_task(sender: Any, data: dict[str, Any], **_: Any) -> None:
    TASKS.labels(data["task_name"], str(data["status"]), data["error_code"]).inc()


for _end in ("completed", "failed", "cancelled"):
    getattr(signals, f"{_end}_track").connect(_count_track, weak=False)
    getattr(signals, f"{_end}_task").connect(_count_task, weak=False)


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count an answered request; `route` is the pattern of its address, so there are few."""
    REQUESTS.labels(method, route, str(status)).inc()
    REQUEST_TIME.labels(method, route).observe(seconds)


class _Now(Collector):
    """What this process holds at the moment: its Hub, its journal, its Tracks."""

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            node = current_node()
        except NotReady:
            return
        yield from _tasks(node)
        yield from _workers(node)
        yield _gauge("turnlab_tracks_running", "Tracks under way in this process.", node.under_way)
        yield _gauge(
            "turnlab_journal_waiting", "Records that are not durable yet.", node.journal.waiting
        )


registry.register(_Now())
ProcessCollector(registry=registry)


def _tasks(node: Node) -> Iterator[Metric]:
    """Of each task that somebody serves or waits for: places, Tasks at work, Tasks waiting."""
    oldest_s: dict[str, float] = defaultdict(float)
    for name, waited_s in node.hub.waiting:
        oldest_s[name] = max(oldest_s[name], waited_s)
    rooms = {m.task_name: node.hub.room(m.task_name) for m in node.registry}
    rooms = {name: room for name, room in rooms.items() if room.places or name in oldest_s}
    told = {
        "places": "Tasks that all workers of this process together run at once.",
        "running": "Tasks at work.",
        "waiting": "Tasks that wait for a worker.",
    }
    for what, documentation in told.items():
        family = GaugeMetricFamily(f"turnlab_tasks_{what}", documentation, labels=["task_name"])
        for name, room in rooms.items():
            family.add_metric([name], getattr(room, what))
        yield family
    waits = GaugeMetricFamily(
        "turnlab_tasks_oldest_waiting_seconds",
        "How long the Task that has waited longest has waited.",
        labels=["task_name"],
    )
    for name in rooms:
        waits.add_metric([name], oldest_s[name])
    yield waits


def _workers(node: Node) -> Iterator[Metric]:
    workers = GaugeMetricFamily(
        "turnlab_workers",
        "Workers that this process hands Tasks to.",
        labels=["transport", "draining"],
    )
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for link in node.hub.links:
        counts[link.transport, str(link.draining).lower()] += 1
    for labels, count in counts.items():
        workers.add_metric(list(labels), count)
    yield workers


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)


@csrf_exempt  # tokens need no cookie; of other methods a problem tells
async def metrics(request: HttpRequest) -> HttpResponse:
    """GET /metrics, in Prometheus' text format; needs the scope metrics:read."""
    try:
        if request.method != "GET":
            raise Refused(405, "Use GET.")
        await authorised(request, "metrics:read")
        # On the event loop, which is where the Hub is; nothing of it waits.
        text = generate_latest(registry) + generate_latest(_Tables(await _shared()))
    except Exception as error:
        return answer(error, request)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


async def _shared() -> list[Metric]:
    """What the tables tell, the same from every process."""
    try:
        queue = await in_database(health.track_queue)
        workers = await in_database(health.live_workers, config().lease_s)
        nodes = await in_database(health.live_nodes, config().lease_s)
    except DatabaseUnavailable:
        return [_gauge("turnlab_database_up", "Whether the database answers.", 0)]
    return [
        _gauge("turnlab_database_up", "Whether the database answers.", 1),
        _gauge("turnlab_tracks_waiting", "Tracks that wait for any process.", queue.waiting),
        _gauge(
            "turnlab_tracks_oldest_waiting_seconds",
            "How long the Track that has waited longest has waited.",
            queue.oldest_s or 0.0,
        ),
        _gauge("turnlab_workers_connected", "Workers, of all processes.", len(workers)),
        _gauge("turnlab_nodes", "API processes that are alive.", len(nodes)),
    ]


class _Tables(CollectorRegistry):
    """Metrics that were read already."""

    def __init__(self, found: list[Metric]) -> None:
        super().__init__()
        self._found = found

    def collect(self) -> Iterator[Metric]:
        yield from self._found
