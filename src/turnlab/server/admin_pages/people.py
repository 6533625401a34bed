"""Conversations, projects, the audit log and accounts in the admin."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from turnlab.server import models
from turnlab.server.admin_pages.acting import acting, check, may, note
from turnlab.server.admin_pages.distinct import prefix_range
from turnlab.server.admin_pages.filters import ConsentFilter, TimeFilter
from turnlab.server.admin_pages.lists import ListAdmin
from turnlab.server.admin_pages.look import NOTHING, State, badge, moment, pretty
from turnlab.server.admin_pages.track_page import track_rows
from turnlab.server.retention import Keep, consent_changed, set_project

_CONSENT = {
    "granted": badge("granted", State.GOOD),
    "refused": badge("refused", State.BAD),
}
_MOST_TRACKS = 200


class ConversationAdmin(ListAdmin):
    """The turns of one session with one user, and whether they let their records be kept."""

    list_display = ("id", "consent_word", "created", "owner_name", "project")
    list_filter = (ConsentFilter, TimeFilter)
    search_fields = ("id",)
    search_help_text = "The beginning of a Conversation's id."
    orders = {"created_at": ("created_at",)}
    fields = ("id", "consent_word", "created", "owner_name", "project")
    readonly_fields = ("consent_word", "created", "owner_name")
    change_form_template = "turnlab/conversation.html"

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """The newest first."""
        return ("-created_at",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Those whose id begins so."""
        term = search_term.strip()
        return queryset.filter(**prefix_range("id", term)) if term else queryset, False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The Conversation, with its newest Tracks."""
        rows = models.Track.objects.filter(conversation_id=object_id).order_by("-created_at")
        short = rows.defer("spans", "host", "request", "error_message")[:_MOST_TRACKS]
        told = {"tracks": track_rows(short), "may_change_consent": may(request, "admin")}
        context = {**told, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def get_urls(self) -> list[URLPattern]:
        """Django's, and where consent is changed."""
        view = self.admin_site.admin_view(self.consent_view)
        own = path("<str:object_id>/consent/", view, name="turnlab_conversation_consent")
        return [own, *super().get_urls()]

    def consent_view(self, request: HttpRequest, object_id: str) -> HttpResponseRedirect:
        """Note what the user said, and apply it to what is kept of theirs."""
        check(request, "admin")
        consent = request.POST.get("consent", "")
        if request.method != "POST" or consent not in _CONSENT:
            raise PermissionDenied("This is done by its buttons.")
        rows = models.Conversation.objects.filter(id=object_id)
        with transaction.atomic():
            note(request, "conversation.consent", object_id, consent=consent)
            rows.update(consent=consent)
        consent_changed(object_id)
        messages.success(request, f"Consent is noted as {consent}.")
        return HttpResponseRedirect(reverse("admin:turnlab_conversation_change", args=(object_id,)))

    @admin.display(description="consent")
    def consent_word(self, row: models.Conversation) -> SafeString:
        """What the user said."""
        return _CONSENT.get(row.consent) or badge("not asked", State.QUIET)

    @admin.display(description="created, UTC", ordering="created_at")
    def created(self, row: models.Conversation) -> str:
        """When it began."""
        return moment(row.created_at)

    @admin.display(description="owner")
    def owner_name(self, row: models.Conversation) -> str:
        """Whose token began it."""
        return row.owner or NOTHING


if TYPE_CHECKING:  # generic to the type checker alone
    _ProjectForm = forms.ModelForm[models.Project]
    _UserAdmin = UserAdmin[User]
else:
    _ProjectForm, _UserAdmin = forms.ModelForm, UserAdmin


class ProjectForm(_ProjectForm):
    """A project and its rule."""

    keep = forms.ChoiceField(
        choices=[
            ("all", "all: texts, figures, sounds and pictures"),
            ("text", "text: sounds and pictures go when the Track has ended"),
            ("days", "days: sounds and pictures go after so many days"),
        ],
        help_text="What is kept of its Tracks.",
    )
    media_days = forms.IntegerField(
        required=False, min_value=1, max_value=36_500, help_text="Only with the rule `days`."
    )

    class Meta:
        model = models.Project
        fields = ("name", "keep", "media_days")

    def clean_name(self) -> str:
        """A name that can stand in an address. Raises ValidationError."""
        name: str = self.cleaned_data["name"]
        if not _PROJECT.fullmatch(name):
            raise ValidationError("Use 1 to 64 of a-z A-Z 0-9 - _ .")
        return name

    def clean(self) -> dict[str, Any]:
        """The days belong to their rule. Raises ValidationError."""
        values = super().clean() or self.cleaned_data
        if values.get("keep") == "days" and not values.get("media_days"):
            raise ValidationError({"media_days": "Say after how many days."})
        if values.get("keep") != "days":
            values["media_days"] = None
        return values


_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class ProjectAdmin(ListAdmin):
    """What belongs together, and how long its media are kept."""

    form = ProjectForm
    list_display = ("name", "rule", "created")
    change_list_template = "admin/change_list.html"

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """By name."""
        return ("name",)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """An administrator may."""
        return may(request, "admin")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """An administrator may."""
        return may(request, "admin")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> tuple[str, ...]:
        """Its name is what its Tracks know it by."""
        return ("name",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Keep it, and who changed what."""
        address = request.META.get("REMOTE_ADDR", "")
        set_project(obj.name, Keep(obj.keep), obj.media_days, by=acting(request), address=address)

    @admin.display(description="keeps")
    def rule(self, row: models.Project) -> str:
        """Its rule in words."""
        if row.keep == "days":
            return f"sounds and pictures for {row.media_days} days, the rest for good"
        return "texts and figures" if row.keep == "text" else "all"

    @admin.display(description="created, UTC")
    def created(self, row: models.Project) -> str:
        """When it was made."""
        return moment(row.created_at)


class AuditAdmin(ListAdmin):
    """Who did what, to what, from where; nobody can change it."""

    view_scope = "admin"
    list_display = ("at_utc", "actor", "action", "target", "address", "token")
    search_fields = ("actor",)
    search_help_text = "Who did it, or what (as token.revoke): the whole word."
    list_display_links = ("at_utc",)
    orders = {"at": ("at",)}
    fields = ("at_utc", "actor", "token", "action", "target", "address", "detail_shown")
    readonly_fields = ("at_utc", "detail_shown")

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """The newest first."""
        return ("-at",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By actor or action."""
        term = search_term.strip()
        return queryset.filter(Q(actor=term) | Q(action=term)) if term else queryset, False

    @admin.display(description="at, UTC", ordering="at")
    def at_utc(self, row: models.AuditEntry) -> str:
        """When."""
        return moment(row.at)

    @admin.display(description="detail")
    def detail_shown(self, row: models.AuditEntry) -> str:
        """What was noted besides."""
        return pretty(row.detail)


class AccountAdmin(_UserAdmin):
    """People who may sign in; what they do to accounts is audited too."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Note that an account was made."""
        note(request, "account.create", str(obj))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Note that an account was changed."""
        note(request, "account.change", str(obj), fields=str(message)[:1000])
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Note that accounts were deleted."""
        for account in queryset:
            note(request, "account.delete", str(account))
        return super().log_deletions(request, queryset)
