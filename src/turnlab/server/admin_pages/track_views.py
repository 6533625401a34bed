"""The page of a Track in the admin, what follows it while it runs, and its buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from turnlab.errors import InvalidTrackId, TurnlabError, UnknownTrack
from turnlab.server.admin_pages import control
from turnlab.server.admin_pages.acting import acting, check, may, note
from turnlab.server.admin_pages.lists import ListAdmin
from turnlab.server.admin_pages.look import wrapping
from turnlab.server.admin_pages.track_page import track_context
from turnlab.server.export import zip_response


class TrackPages(ListAdmin):
    """One Track: looked into, cancelled, run again, exported."""

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the person may cancel Tracks."""
        return may(request, "tracks:cancel")

    def has_start_permission(self, request: HttpRequest) -> bool:
        """Whether the person may start Tracks."""
        return may(request, "tracks:start")

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Whether the person may take records away."""
        return may(request, "export")

    def get_urls(self) -> list[URLPattern]:
        """Pages by the id as it is."""
        views: dict[str, tuple[str, Callable[..., HttpResponseBase]]] = {
            "": ("change", self.track_view),
            "live/": ("live", self.live_view),
            "cancel/": ("cancel", self.cancel_view),
            "rerun/": ("rerun", self.rerun_view),
            "export/": ("export", self.export_view),
        }
        wrap = self.admin_site.admin_view
        listed = path("", wrap(self.changelist_view), name="turnlab_track_changelist")
        return [
            listed,
            *(
                path(f"<str:track_id>/{end}", wrap(view), name=f"turnlab_track_{name}")
                for end, (name, view) in views.items()
            ),
        ]

    def track_view(self, request: HttpRequest, track_id: str) -> HttpResponseBase:
        """The page of a Track."""
        context = self._context(request, track_id)
        return TemplateResponse(request, "turnlab/track.html", context)

    def live_view(self, request: HttpRequest, track_id: str) -> HttpResponseBase:
        """What changes on the page while the Track runs; 204 if nothing did since `seen`."""
        context = self._context(request, track_id)
        if request.GET.get("seen") == context["shown"]:
            return HttpResponse(status=204)
        return TemplateResponse(request, "turnlab/track_live.html", context)

    def _context(self, request: HttpRequest, track_id: str) -> dict[str, Any]:
        check(request, self.view_scope)
        try:
            found = track_context(track_id, acting(request).owner)
        except (InvalidTrackId, UnknownTrack) as error:
            raise Http404(error.message) from error
        row = found["row"]
        return {
            **self.admin_site.each_context(request),
            **found,
            "title": wrapping(row.cluster),
            "opts": self.opts,
            "may_cancel": self.has_cancel_permission(request) and found["live"],
            "may_export": self.has_export_permission(request),
            "choices": control.choices(row) if self.has_start_permission(request) else [],
        }

    def cancel_view(self, request: HttpRequest, track_id: str) -> HttpResponseBase:
        """Cancel it."""
        _posted(request, "tracks:cancel")
        if not each(request, [track_id], lambda one: control.cancel(request, one)):
            messages.success(request, "The Track is being cancelled.")
        return _back(track_id)

    def rerun_view(self, request: HttpRequest, track_id: str) -> HttpResponseBase:
        """Run it again, and go to the new Track."""
        _posted(request, "tracks:start")
        try:
            made = control.rerun(request, track_id, request.POST.get("cluster", ""))
        except TurnlabError as error:
            messages.error(request, f"{error.message} ({error.code})")
            return _back(track_id)
        messages.success(request, "It was accepted, and is shown here.")
        return _back(made.track_id)

    def export_view(self, request: HttpRequest, track_id: str) -> HttpResponseBase:
        """Its records and media as a zip."""
        _posted(request, "export")
        note(request, "export", track_id)
        return zip_response([track_id])


def _posted(request: HttpRequest, scope: str) -> None:
    """Raise PermissionDenied unless it is a POST of somebody who has the scope."""
    if request.method != "POST":
        raise PermissionDenied("This is done by its button.")
    check(request, scope)


def _back(track_id: str) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:turnlab_track_change", args=(track_id,)))


def each(request: HttpRequest, ids: list[str], do: Callable[[str], object]) -> int:
    """Do it to each; how many failed, of which the person is told the first few."""
    failed = 0
    for track_id in ids:
        try:
            do(track_id)
        except TurnlabError as error:
            failed += 1
            if failed <= 3:
                messages.error(request, f"{track_id[-8:]}: {error.message} ({error.code})")
    if failed > 3:
        messages.error(request, f"{failed - 3} more failed.")
    return failed
