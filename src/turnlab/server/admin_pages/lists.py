"""Lists of millions of rows: a page is read through an index, and nothing is ever counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin, ShowFacets
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest, HttpResponse

from turnlab.server.admin_pages.acting import may

MOST_PAGES = 500
"""How far one can leaf: the database reads past all that is skipped."""


class Leaf(Paginator):  # type: ignore[type-arg]
    """A paginator that knows only what the page at hand showed, so that nothing is counted."""

    def __init__(self, rows: Any, per_page: int, **more: Any) -> None:
        super().__init__(rows, per_page, **more)
        self.count = 0  # replaces the cached property, which would ask the database


class LeafList(ChangeList):
    """Reads one row more than a page has, to know whether there is another page.

    Rows are sorted by one column at a time, those that `ModelAdmin.orders` names, in an order
    that an index gives.
    """

    def get_results(self, request: HttpRequest) -> None:
        """Read the page. Raises IncorrectLookupParameters for one that nobody should leaf to."""
        size = self.list_per_page
        if not 1 <= self.page_num <= MOST_PAGES:
            raise IncorrectLookupParameters
        first = (self.page_num - 1) * size
        rows = list(self.queryset[first : first + size + 1])
        self.first = first + 1
        self.last = first + len(rows[:size])
        self.more = len(rows) > size and self.page_num < MOST_PAGES
        self.result_list = rows[:size]
        # As many as are shown: an action is for those that one sees, never for a million.
        self.result_count = len(self.result_list)
        self.full_result_count = self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = bool(rows)
        self.can_show_all = self.multi_page = False
        self.paginator = Leaf(self.result_list, size)

    @property
    def newer_link(self) -> str:
        """The address of the page before this one; empty for the first."""
        return self.get_query_string({"p": self.page_num - 1}) if self.page_num > 1 else ""

    @property
    def older_link(self) -> str:
        """The address of the page after this one; empty for the last."""
        return self.get_query_string({"p": self.page_num + 1}) if self.more else ""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:
        """The columns of one index, and the key, so that no row comes twice."""
        if chosen := self.params.get(ORDER_VAR):
            self.params[ORDER_VAR] = chosen = chosen.split(".")[0]
            self.filter_params[ORDER_VAR] = [chosen]
        asked = super().get_ordering(request, queryset)
        sign = "-" if str(asked[0]).startswith("-") else ""
        assert isinstance(self.model_admin, ListAdmin)
        columns = self.model_admin.orders.get(str(asked[0]).lstrip("-"), ())
        key = str(self.lookup_opts.pk.name)
        return [sign + column for column in dict.fromkeys((*columns, key))]

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        """The rows, less those that lack what they are sorted by.

        Databases differ in where these stand, and none can skip them through the index.
        """
        rows = super().get_queryset(request, exclude_parameters)
        by = str(rows.query.order_by[0]).lstrip("-")
        if self.lookup_opts.get_field(by).null:
            rows = rows.filter(**{f"{by}__isnull": False})
        return rows


if TYPE_CHECKING:
    _Base = ModelAdmin[Any]  # generic to the type checker alone
else:
    _Base = ModelAdmin


class ListAdmin(_Base):
    """A list that is read only, sorts by `orders`, and is narrowed by its own filters alone."""

    orders: Mapping[str, tuple[str, ...]] = {}
    """By what can be sorted, and the columns of the index that gives this order."""
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_per_page = 100
    actions_on_bottom = False
    change_list_template = "turnlab/list.html"
    view_scope = "tracks:read_all"
    """The scope that it takes to see these rows."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, called by what it lists."""
        title = str(self.opts.verbose_name_plural).capitalize()
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list that does not count."""
        return LeafList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Whether the filters know it: any other could read a whole table, or guess at a hash."""
        filters = self.get_list_filter(request) if request else self.list_filter
        known = {name for each in filters for name in getattr(each, "parameters", ())}
        return lookup in known

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Its own actions: nothing is deleted from a list."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the person may see it in the list of tables."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whether the person may see these rows."""
        return may(request, self.view_scope)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Rows are made by what runs."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Rows are records."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Retention deletes, nobody else."""
        return False
