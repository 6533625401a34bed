"""Workers and API processes in the admin, read only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from turnlab.server import models
from turnlab.server.admin_pages.lists import ListAdmin
from turnlab.server.admin_pages.look import NOTHING, State, ago, badge, lasting, moment, pretty
from turnlab.server.config import config

_ALIVE = badge("alive", State.GOOD)
_LOST = badge("lost", State.BAD)


def _heard(at: datetime) -> bool:
    """Whether it was heard of within the lease."""
    return at >= datetime.now(UTC) - timedelta(seconds=config().lease_s)


class WorkerAdmin(ListAdmin):
    """Processes that run Tasks."""

    view_scope = "clusters:read"
    list_display = (
        "name",
        "state",
        "serves",
        "running_now",
        "machine",
        "offset",
        "round_trip",
        "node",
        "heard",
    )
    orders = {"heartbeat_at": ("heartbeat_at",)}
    fields = (
        "id",
        "name",
        "state",
        "transport",
        "node",
        "token",
        "running_now",
        "offset",
        "round_trip",
        "connected",
        "heard",
        "disconnected",
        "tasks_shown",
        "hardware_shown",
    )
    readonly_fields = (
        "state",
        "running_now",
        "offset",
        "round_trip",
        "connected",
        "heard",
        "disconnected",
        "tasks_shown",
        "hardware_shown",
    )

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Those heard of last first."""
        return ("-heartbeat_at",)

    @admin.display(description="state")
    def state(self, row: models.Worker) -> SafeString:
        """Whether it is there."""
        if row.disconnected_at is not None:
            return badge("gone", State.QUIET)
        if not _heard(row.heartbeat_at):
            return _LOST
        return badge("draining", State.ATTENTION) if row.draining else _ALIVE

    @admin.display(description="serves")
    def serves(self, row: models.Worker) -> str:
        """The tasks that its Modules perform."""
        return ", ".join(_name(each) for each in row.tasks) or NOTHING

    @admin.display(description="runs")
    def running_now(self, row: models.Worker) -> str:
        """How many Tasks, of how many at once."""
        return f"{row.running} of {row.concurrency}"

    @admin.display(description="hardware")
    def machine(self, row: models.Worker) -> str:
        """Processor and cores."""
        facts = row.hardware
        cores = f"{facts['cores']} cores" if facts.get("cores") else ""
        return ", ".join(str(each) for each in (facts.get("processor"), cores) if each) or NOTHING

    @admin.display(description="clock offset")
    def offset(self, row: models.Worker) -> str:
        """Its clock less that of the API process, as measured at the handshake."""
        if row.clock_offset_s is None:
            return NOTHING
        sign = "-" if row.clock_offset_s < 0 else "+"
        return sign + lasting(abs(row.clock_offset_s))

    @admin.display(description="round trip")
    def round_trip(self, row: models.Worker) -> str:
        """How long a message there and back took."""
        return NOTHING if row.round_trip_s is None else f"{row.round_trip_s * 1000:.1f} ms"

    @admin.display(description="heard", ordering="heartbeat_at")
    def heard(self, row: models.Worker) -> str:
        """When it was last heard of."""
        return ago(row.heartbeat_at)

    @admin.display(description="connected, UTC")
    def connected(self, row: models.Worker) -> str:
        """Since when."""
        return moment(row.connected_at)

    @admin.display(description="disconnected, UTC")
    def disconnected(self, row: models.Worker) -> str:
        """Until when."""
        return moment(row.disconnected_at)

    @admin.display(description="tasks")
    def tasks_shown(self, row: models.Worker) -> str:
        """Each Module that it serves."""
        return pretty(row.tasks)

    @admin.display(description="hardware")
    def hardware_shown(self, row: models.Worker) -> str:
        """What it says of its machine."""
        return pretty(row.hardware)


def _name(task: Any) -> str:
    return str(task.get("task_name", "")) if isinstance(task, dict) else str(task)


class NodeAdmin(ListAdmin):
    """API processes."""

    view_scope = "clusters:read"
    list_display = ("id", "state", "url", "version", "started", "heard")
    fields = ("id", "state", "url", "version", "started", "heard")
    readonly_fields = ("state", "started", "heard")

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """By id; there are few."""
        return ("id",)

    @admin.display(description="state")
    def state(self, row: models.Node) -> SafeString:
        """Whether it was heard of within the lease."""
        return _ALIVE if _heard(row.heartbeat_at) else _LOST

    @admin.display(description="started, UTC")
    def started(self, row: models.Node) -> str:
        """When it began."""
        return moment(row.started_at)

    @admin.display(description="heard")
    def heard(self, row: models.Node) -> str:
        """When it was last heard of."""
        return ago(row.heartbeat_at)
