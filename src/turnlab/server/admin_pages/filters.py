"""Filters of the lists. Their choices come from an index or from the code, never from a count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.admin import ListFilter, SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.db import connection
from django.db.models import Case, F, FloatField, Q, QuerySet, Value, When
from django.db.models.functions import Concat
from django.http import HttpRequest, QueryDict

from turnlab.server import models
from turnlab.server.admin_pages.desk import budgets
from turnlab.server.admin_pages.distinct import distinct_values
from turnlab.server.admin_pages.look import wrapping
from turnlab.tracks import TrackStatus

AGES = {
    "hour": ("the last hour", timedelta(hours=1)),
    "day": ("the last 24 hours", timedelta(days=1)),
    "week": ("the last 7 days", timedelta(days=7)),
}

BANDS: dict[str, tuple[str, float, float | None]] = {
    "good": ("up to 0.8 s (feels good)", 0.0, 0.8),
    "fair": ("0.8 to 1.5 s", 0.8, 1.5),
    "slow": ("1.5 to 5 s", 1.5, 5.0),
    "lost": ("over 5 s", 5.0, None),
}
OVER_BUDGET = "over"

LATENCY = "latency"
_FEW = 1_000
"""A band of at most so many Tracks is read first, and narrowed further by their ids."""
_FOUND = "_turnlab_few_of_band"
OTHERS = ("cluster", "status", "age", "since", "until", "owner", "project", "q")
"""What else can narrow the list of Tracks."""


class _Chosen(SimpleListFilter):
    """Rows whose column `parameter_name` is what was chosen."""

    parameter_name: str
    parameters: tuple[str, ...]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with that value."""
        value, name = self.value(), self.parameter_name
        if value is None:
            return queryset
        if few_of_band(request) is None:
            return queryset.filter(**{name: value})
        # Beside a few ids: an expression, which no index has.
        plain = f"{name}_plain"
        rows: QuerySet[Any] = queryset.alias(**{plain: Concat(F(name), Value(""))})
        return rows.filter(**{plain: value})


class _OfIndex(_Chosen):
    """Its choices are the values that the column has."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        """Each value, and a word for the empty one."""
        values = distinct_values(model_admin.model, self.parameter_name)
        return [(value, wrapping(value) or "the command line") for value in values]


class ClusterFilter(_OfIndex):
    """By the Cluster of a Track."""

    title, parameter_name, parameters = "Cluster", "cluster", ("cluster",)


class OwnerFilter(_OfIndex):
    """By whose token started it."""

    title, parameter_name, parameters = "owner", "owner", ("owner",)


class ProjectFilter(_Chosen):
    """By project."""

    title, parameter_name, parameters = "project", "project", ("project",)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        """The projects that there are, and the one that is always there."""
        names = models.Project.objects.order_by("name").values_list("name", flat=True)[:200]
        return [(name, name) for name in sorted({"default", *names})]


class StatusFilter(_Chosen):
    """By status."""

    title, parameter_name, parameters = "status", "status", ("status",)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        """Each status."""
        return [(status.value, status.value) for status in TrackStatus]


class ConsentFilter(_Chosen):
    """By what the user said about keeping the records."""

    title, parameter_name, parameters = "consent", "consent", ("consent",)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        """What can be said."""
        return [("granted", "granted"), ("refused", "refused"), ("", "not asked")]


class LatencyFilter(SimpleListFilter):
    """By voice-to-voice latency: a band, or over the budget of the Track's own Cluster."""

    title, parameter_name, parameters = "voice to voice", LATENCY, (LATENCY,)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        """The bands."""
        over = (OVER_BUDGET, "over its Cluster's budget")
        return [over, *((key, words) for key, (words, _, _) in BANDS.items())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The Tracks in the band."""
        if self.value() == OVER_BUDGET:
            return _over_budget(self._measured(request, queryset))
        band = BANDS.get(self.value() or "")
        if band is None:
            return queryset
        few = few_of_band(request)
        if few is not None:
            return queryset.filter(track_id__in=few)
        rows: QuerySet[Any] = self._measured(request, queryset).filter(_within(band))
        return rows

    def _measured(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """With the latency as `measured`, through its index only where it gives the order too.

        SQLite would take that index for any range of it, and then sort the half of all Tracks.
        """
        plain = connection.vendor != "sqlite" or sorted_by_latency(request.GET)
        latency = F("voice_to_voice_s") if plain else F("voice_to_voice_s") + 0.0
        measured: QuerySet[Any] = queryset.alias(measured=latency)
        return measured


def sorted_by_latency(asked: QueryDict) -> bool:
    """Whether the list shows the slowest first: narrowed by latency alone, in no chosen order."""
    alone = not any(asked.get(name) for name in OTHERS)
    return alone and bool(asked.get(LATENCY)) and not asked.get("o")


def _within(band: tuple[str, float, float | None]) -> Q:
    _, low, high = band
    return Q(measured__gt=low) if high is None else Q(measured__gt=low, measured__lte=high)


def few_of_band(request: HttpRequest) -> list[str] | None:
    """The Tracks of the chosen band of latency where these are few; None where they are not.

    SQLite, which keeps no count of what an index holds, takes a Cluster's Tracks for ten and would
    read them all to find a few slow ones.
    """
    band = BANDS.get(request.GET.get(LATENCY, ""))
    if band is None or connection.vendor != "sqlite" or sorted_by_latency(request.GET):
        return None
    if not hasattr(request, _FOUND):
        tracks = models.Track.objects.alias(measured=F("voice_to_voice_s")).filter(_within(band))
        found = list(tracks.values_list("track_id", flat=True)[: _FEW + 1])
        setattr(request, _FOUND, found if len(found) <= _FEW else None)
    few: list[str] | None = getattr(request, _FOUND)
    return few


def _over_budget(rows: QuerySet[Any]) -> QuerySet[Any]:
    limits = budgets()
    if not limits:
        return rows.none()
    whens = [When(cluster=name, then=Value(limit)) for name, limit in limits.items()]
    budget = Case(*whens, output_field=FloatField())  # NULL where there is none
    return rows.filter(measured__gt=min(limits.values())).filter(measured__gt=budget)


class TimeFilter(ListFilter):
    """By when it began: the last hour, day or week, or between two moments in UTC."""

    title = "time"
    template = "turnlab/filter_time.html"
    parameters = ("age", "since", "until")

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        given: dict[str, str] = {
            name: params.pop(name)[-1] for name in self.parameters if name in params
        }
        self._given = {name: value for name, value in given.items() if value}
        self.used_parameters = dict(self._given)
        self.since, self.until = (self._moment(name) for name in ("since", "until"))
        self.kept: list[tuple[str, str]] = []

    def _moment(self, name: str) -> datetime | None:
        text = self._given.get(name)
        if text is None:
            return None
        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError as error:
            raise IncorrectLookupParameters from error

    def has_output(self) -> bool:
        """Always."""
        return True

    def expected_parameters(self) -> list[str | None]:
        """What it reads of the address."""
        return list(self.parameters)

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        """The last hour and the like; the two moments are in its template."""
        kept = changelist.filter_params.items()
        self.kept = [(k, v[-1]) for k, v in kept if k not in self.parameters and v]
        chosen = self._given.get("age")
        everything = changelist.get_query_string(remove=list(self.parameters))
        yield {"selected": not self._given, "query_string": everything, "display": "All"}
        for age, (words, _) in AGES.items():
            others = {name: None for name in ("since", "until")}
            address = changelist.get_query_string({"age": age, **others})
            yield {"selected": chosen == age, "query_string": address, "display": words}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that began then."""
        if age := AGES.get(self._given.get("age", "")):
            queryset = queryset.filter(created_at__gte=datetime.now(UTC) - age[1])
        if self.since is not None:
            queryset = queryset.filter(created_at__gte=self.since)
        if self.until is not None:
            queryset = queryset.filter(created_at__lte=self.until)
        return queryset
