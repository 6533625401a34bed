"""The addresses of the service."""

from __future__ import annotations

from django.templatetags.static import static
from django.urls import path
from django.views.generic import RedirectView

from turnlab.server import metrics, pages_health, problems
from turnlab.server.admin import site as admin
from turnlab.server.api import api
from turnlab.server.api.media_files import media
from turnlab.server.openai_endpoints import api as openai

handler400 = problems.bad_request
handler403 = problems.forbidden
handler404 = problems.not_found
handler500 = problems.server_error

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("favicon.ico", RedirectView.as_view(url=static("turnlab/icon.svg"))),
    path("healthz", pages_health.healthz),
    path("readyz", pages_health.readyz),
    path("metrics", metrics.metrics),
    path("media/<path:name>", media),
    path("api/v1/", api.urls),
    path("v1/", openai.urls),
    path("admin/", admin.urls),
]
