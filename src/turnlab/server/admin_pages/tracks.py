"""Tracks in the admin: the list, the page, and what can be done to them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import (
    HttpRequest,
    HttpResponseBase,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from turnlab.reports.rows import ms_text
from turnlab.server import models
from turnlab.server.admin_pages import control
from turnlab.server.admin_pages.acting import note
from turnlab.server.admin_pages.desk import budgets
from turnlab.server.admin_pages.distinct import distinct_values, prefix_range
from turnlab.server.admin_pages.filters import (
    ClusterFilter,
    LatencyFilter,
    OwnerFilter,
    ProjectFilter,
    StatusFilter,
    TimeFilter,
    sorted_by_latency,
)
from turnlab.server.admin_pages.lists import LeafList
from turnlab.server.admin_pages.look import (
    NOTHING,
    moment,
    status_badge,
    track_link,
    wrapping,
)
from turnlab.server.admin_pages.track_views import TrackPages, each
from turnlab.server.export import zip_response
from turnlab.work import Priority

MOST_AT_ONCE = 100
"""Tracks that one action takes: those of a page."""

_MOST_FOUND = 1_000
_HEX = frozenset("0123456789abcdef")


class TrackList(LeafList):
    """Links rows to the page of a Track by the id itself, not by Django's quoting of it."""

    def url_for_result(self, result: Model) -> str:
        """The page of the Track."""
        return reverse("admin:turnlab_track_change", args=(result.pk,))


class TrackAdmin(TrackPages):
    """Turns: found by what they are, looked into, cancelled, run again, exported."""

    list_display = (
        "track",
        "status_word",
        "cluster_name",
        "created",
        "voice_to_voice",
        "error",
        "owner_name",
        "project_name",
        "node_name",
    )
    list_display_links = None
    list_filter = (
        StatusFilter,
        LatencyFilter,
        TimeFilter,
        ClusterFilter,
        OwnerFilter,
        ProjectFilter,
    )
    search_fields = ("track_id",)
    search_help_text = (
        "The beginning of a track_id, of its 32 digits, or a Conversation (C-...). "
        f"At most {_MOST_FOUND:,} Tracks are found."
    )
    orders = {
        "created_at": ("created_at",),
        "cluster": ("cluster", "created_at"),
        "status": ("status", "created_at"),
        "owner": ("owner", "created_at"),
        "voice_to_voice_s": ("voice_to_voice_s",),
    }
    actions = ("cancel_chosen", "rerun_chosen", "export_chosen")

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Track]:
        """Without the columns that hold JSON, which may be long."""
        return models.Track.objects.defer("spans", "host", "request", "error_message")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LeafList]:
        """The list that does not count."""
        return TrackList

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """The newest first; narrowed by latency alone, the slowest."""
        return ("-voice_to_voice_s",) if sorted_by_latency(request.GET) else ("-created_at",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The Tracks whose id, digits or Conversation begin so."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if term.startswith("C-"):
            found = models.Conversation.objects.filter(**prefix_range("id", term)).order_by("id")
            ids = list(found.values_list("id", flat=True)[:_MOST_FOUND])
            return queryset.filter(conversation_id__in=ids), False
        return queryset.filter(track_id__in=_found(term)), False

    # The columns

    @admin.display(description="Track")
    def track(self, row: models.Track) -> SafeString:
        """Its last digits, which lead to its page."""
        return track_link(row.track_id)

    @admin.display(description="Cluster", ordering="cluster")
    def cluster_name(self, row: models.Track) -> SafeString:
        """The Cluster that it went through."""
        return wrapping(row.cluster)

    @admin.display(description="status", ordering="status")
    def status_word(self, row: models.Track) -> SafeString:
        """Its status, in colour."""
        return status_badge(row.status)

    @admin.display(description="created, UTC", ordering="created_at")
    def created(self, row: models.Track) -> str:
        """When it began."""
        return moment(row.created_at)

    @admin.display(description="voice to voice", ordering="voice_to_voice_s")
    def voice_to_voice(self, row: models.Track) -> str | SafeString:
        """In milliseconds; marked where it is over the budget of its Cluster."""
        text, limit = ms_text(row.voice_to_voice_s), budgets().get(row.cluster)
        if row.voice_to_voice_s is None or limit is None or row.voice_to_voice_s <= limit:
            return text
        tip = f"over the budget of {ms_text(limit)}"
        return format_html('<span class="over" title="{}">{} over</span>', tip, text)

    @admin.display(description="error")
    def error(self, row: models.Track) -> str | SafeString:
        """The code of what failed first."""
        return format_html("<code>{}</code>", row.error_code) if row.error_code else NOTHING

    @admin.display(description="owner", ordering="owner")
    def owner_name(self, row: models.Track) -> str:
        """Whose token started it."""
        return row.owner or NOTHING

    @admin.display(description="project")
    def project_name(self, row: models.Track) -> str:
        """The project that it belongs to."""
        return row.project

    @admin.display(description="node")
    def node_name(self, row: models.Track) -> str:
        """The API process that runs it."""
        return row.node or NOTHING

    # What can be done to those that are chosen

    @admin.action(description="Cancel", permissions=["cancel"])
    def cancel_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Cancel those that are under way."""
        ids = _ids(queryset.filter(status__in=("pending", "started")))
        failed = each(request, ids, lambda track_id: control.cancel(request, track_id))
        if len(ids) > failed:
            messages.success(request, f"{len(ids) - failed} Tracks are being cancelled.")
        elif not ids:
            messages.info(request, "None of these is under way.")

    @admin.action(description="Run again through ...", permissions=["start"])
    def rerun_chosen(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> TemplateResponse | HttpResponseRedirect:
        """Ask for the Cluster, then accept what was chosen once more, as batch."""
        ids = _ids(queryset)
        if "cluster" not in request.POST:
            return self._ask_cluster(request, ids)
        cluster = request.POST["cluster"]
        again = lambda track_id: control.rerun(request, track_id, cluster, Priority.BATCH)  # noqa: E731
        failed = each(request, ids, again)
        if len(ids) > failed:
            messages.success(request, f"{len(ids) - failed} Tracks were accepted to run again.")
        return HttpResponseRedirect(reverse("admin:turnlab_track_changelist"))

    def _ask_cluster(self, request: HttpRequest, ids: list[str]) -> TemplateResponse:
        first = models.Track.objects.get(track_id=ids[0])
        context = {
            **self.admin_site.each_context(request),
            "title": "Run again",
            "opts": self.opts,
            "ids": ids,
            "choices": control.choices(first),
        }
        return TemplateResponse(request, "turnlab/rerun.html", context)

    @admin.action(description="Export (zip)", permissions=["export"])
    def export_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
        """One zip of their records and media."""
        ids = _ids(queryset)
        note(request, "export", f"{len(ids)} Tracks", tracks=ids)
        return zip_response(ids)


def _ids(queryset: QuerySet[Any]) -> list[str]:
    """The chosen Tracks: those of one page, whatever the form claims."""
    return list(queryset.values_list("track_id", flat=True)[:MOST_AT_ONCE])


def _found(term: str) -> list[str]:
    """The ids of Tracks that begin with `term`, or whose digits do, through the index."""
    prefixes = [term if term.startswith("T-") else f"T-{term}"]
    if set(term.lower()) <= _HEX:
        clusters = distinct_values(models.Track, "cluster")
        prefixes += [f"T-{cluster}-{term.lower()}" for cluster in clusters]
    found: list[str] = []
    for prefix in prefixes:
        rows = models.Track.objects.filter(**prefix_range("track_id", prefix))
        left = _MOST_FOUND - len(found)
        found += rows.order_by("track_id").values_list("track_id", flat=True)[:left]
    return found
