"""Tasks in the admin: one run of one Component each, read only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from turnlab.server import models
from turnlab.server.admin_pages.distinct import prefix_range
from turnlab.server.admin_pages.lists import ListAdmin
from turnlab.server.admin_pages.look import NOTHING, moment, pretty, status_badge, track_link
from turnlab.server.admin_pages.masking import shown_parameters
from turnlab.server.health import unfinished
from turnlab.tasks import TaskStatus

_MOST_FOUND = 1_000


class UnderWay(SimpleListFilter):
    """Those that have not ended: they alone have an index by status, for they are few."""

    title, parameter_name, parameters = "status", "under_way", ("under_way",)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        """Waiting, running."""
        waiting, running = TaskStatus.PENDING.value, TaskStatus.STARTED.value
        return [(waiting, "waits for a worker"), (running, "runs")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with that status."""
        if self.value() is None:
            return queryset
        return queryset.filter(unfinished()).filter(status=self.value())


class TaskAdmin(ListAdmin):
    """Sorted by id, which sorts by time."""

    list_display = ("name", "track_shown", "status_word", "worker_name", "attempt_no", "created")
    list_filter = (UnderWay,)
    search_fields = ("track_id",)
    search_help_text = (
        "The beginning of a track_id or of a Task's id. All Tasks of a Track, with their times, "
        "are on its page."
    )
    fields = (
        "name",
        "task_name",
        "track_shown",
        "status_word",
        "worker",
        "attempt",
        "created",
        "error_code",
        "error_message",
        "parameters_shown",
        "result_shown",
    )
    readonly_fields = (
        "track_shown",
        "status_word",
        "created",
        "parameters_shown",
        "result_shown",
    )

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """The newest first."""
        return ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The Tasks of Tracks whose id begins so, or whose own does."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if not term.startswith("T-"):
            return queryset.filter(**prefix_range("id", term.lower())), False
        tracks = models.Track.objects.filter(**prefix_range("track_id", term))
        ids = list(tracks.order_by("track_id").values_list("track_id", flat=True)[:_MOST_FOUND])
        return queryset.filter(track_id__in=ids), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Task]:
        """The Tasks; a list leaves out the columns that hold JSON."""
        rows = models.Task.objects.all()
        place = request.resolver_match and request.resolver_match.url_name
        listed = place == "turnlab_task_changelist"
        return rows.defer("parameters", "result_json", "error_message") if listed else rows

    @admin.display(description="Track")
    def track_shown(self, row: models.Task) -> SafeString:
        """The Track that it is of."""
        return track_link(row.track_id)

    @admin.display(description="status")
    def status_word(self, row: models.Task) -> SafeString:
        """Its status, with the code of its error."""
        code = format_html(" <code>{}</code>", row.error_code) if row.error_code else ""
        return format_html("{}{}", status_badge(row.status), code)

    @admin.display(description="worker")
    def worker_name(self, row: models.Task) -> str:
        """Who took it."""
        return row.worker or NOTHING

    @admin.display(description="attempt")
    def attempt_no(self, row: models.Task) -> int:
        """2 once it was given to another worker."""
        return row.attempt

    @admin.display(description="created, UTC")
    def created(self, row: models.Task) -> str:
        """When it was created."""
        return moment(row.created_at)

    @admin.display(description="parameters")
    def parameters_shown(self, row: models.Task) -> str:
        """Its parameters, what may be secret masked."""
        return pretty(shown_parameters(row.task_name, row.parameters))

    @admin.display(description="result")
    def result_shown(self, row: models.Task) -> str:
        """Its result_profile and latency_profile."""
        return pretty(row.result_json)
