"""Turnlab's admin site: its start page, its health page, and the order of its tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.views.decorators.cache import cache_control

from turnlab import __version__
from turnlab.reports.waterfall import CSS
from turnlab.server import models
from turnlab.server.admin_pages.acting import check, may
from turnlab.server.admin_pages.signs import signs_context
from turnlab.server.admin_pages.track_page import track_rows

View = TypeVar("View", bound=Callable[..., HttpResponseBase])

_NEWEST = 15

_ORDER = ("Track", "Conversation", "Task", "Worker", "Node", "Project", "Token", "AuditEntry")

# What a page may load and run: its own files, and nothing that a transcript could smuggle in.
# Django's own pages set no style attributes; the pictures of the waterfall set none either.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


@cache_control(max_age=3600)
def waterfall_css(request: HttpRequest) -> HttpResponse:
    """The rules of the waterfall: those of the reports, as a file of its own for the policy."""
    return HttpResponse(CSS, content_type="text/css; charset=utf-8")


class TurnlabSite(AdminSite):
    """The admin at /admin/."""

    site_header = "Turnlab"
    site_title = "Turnlab"
    index_title = "Overview"
    site_url = None
    enable_nav_sidebar = False

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Django's, and the health page."""
        own: list[URLPattern | URLResolver] = [
            path("health/", self.admin_view(self.health), name="health"),
            path("health/figures/", self.admin_view(self.figures), name="health_figures"),
            path("waterfall.css", waterfall_css, name="waterfall_css"),
        ]
        return [*own, *super().get_urls()]

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """Django's, and each answer says what its page may load."""
        inner = super().admin_view(view, cacheable)

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            answer = inner(request, *args, **kwargs)
            answer.headers.setdefault("Content-Security-Policy", _POLICY)
            return answer

        return cast(View, guarded)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What every page shows."""
        return {**super().each_context(request), "version": __version__}

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Turnlab's own tables first, in the order in which one needs them."""
        apps = super().get_app_list(request, app_label)
        for app in (each for each in apps if each["app_label"] == "turnlab"):
            app["models"].sort(key=lambda model: _ORDER.index(model["object_name"]))
        return sorted(apps, key=lambda app: app["app_label"] != "turnlab")

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """The figures of health and the newest Tracks."""
        newest = models.Track.objects.order_by("-created_at", "-track_id").defer(
            "spans", "host", "request", "error_message"
        )
        context = {
            **self.each_context(request),
            **(signs_context() if may(request, "clusters:read") else {}),
            "title": self.index_title,
            "subtitle": None,
            "app_list": self.get_app_list(request),
            "newest": track_rows(newest[:_NEWEST]) if may(request, "tracks:read_all") else [],
            **(extra_context or {}),
        }
        request.current_app = self.name
        return TemplateResponse(request, "turnlab/overview.html", context)

    def health(self, request: HttpRequest) -> HttpResponse:
        """How the service fares; the page renews itself."""
        check(request, "clusters:read")
        context = {**self.each_context(request), **signs_context(), "title": "Health"}
        return TemplateResponse(request, "turnlab/health.html", context)

    def figures(self, request: HttpRequest) -> HttpResponse:
        """The part of the health page that is renewed."""
        check(request, "clusters:read")
        return TemplateResponse(request, "turnlab/health_figures.html", signs_context())
