"""Tokens in the admin: made, listed, revoked. A secret is shown once, by what made it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from turnlab.errors import TurnlabError
from turnlab.server import models, tokens
from turnlab.server.admin_pages.acting import acting, check, may
from turnlab.server.admin_pages.lists import ListAdmin
from turnlab.server.admin_pages.look import NOTHING, State, ago, badge, moment
from turnlab.server.roles import ROLES, SCOPES, Role


class TokenForm(forms.Form):
    """What a new token is to be."""

    name = forms.CharField(max_length=128, help_text="What it is for, such as: lab microphone.")
    owner = forms.CharField(
        max_length=128,
        required=False,
        help_text="Whom belongs what it starts; empty: the name of the token.",
    )
    role = forms.ChoiceField(choices=[(role.value, role.value) for role in reversed(Role)])
    project = forms.ModelChoiceField(
        queryset=models.Project.objects.order_by("name"), required=False, empty_label="default"
    )
    days = forms.IntegerField(
        label="expires after days",
        required=False,
        min_value=1,
        max_value=tokens.LONGEST.days,
        help_text="Empty: never.",
    )
    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {what}") for scope, what in SCOPES.items()],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Only these of its role; none chosen: all of its role.",
    )


class TokenAdmin(ListAdmin):
    """What programs sign in with."""

    view_scope = "admin"
    list_display = (
        "name",
        "state",
        "role",
        "owner",
        "project",
        "created",
        "expires",
        "used",
    )
    actions = ("revoke_chosen",)
    orders = {"created_at": ("created_at",)}
    fields = (
        "id",
        "name",
        "state",
        "role",
        "scopes",
        "owner",
        "project",
        "created_by",
        "created",
        "expires",
        "used",
    )
    readonly_fields = ("state", "created", "expires", "used")

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Token]:
        """Without the hashes."""
        return models.Token.objects.defer("secret_hash")

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """The newest first."""
        return ("-created_at",)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """An administrator may."""
        return may(request, "admin")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """An administrator may."""
        return may(request, "admin")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Ask what it is to be; make it; show its secret, which nothing can show again."""
        check(request, "admin")
        form = TokenForm(request.POST or None)
        context = {
            **self.admin_site.each_context(request),
            "title": "Make a token",
            "opts": self.opts,
            "form": form,
            "roles": [(role.value, sorted(scopes)) for role, scopes in ROLES.items()],
        }
        if request.method == "POST" and form.is_valid():
            try:
                facts, secret = self._make(request, form.cleaned_data)
            except TurnlabError as error:
                form.add_error(None, error.message)
            else:
                context |= {"facts": facts, "secret": secret, "title": "The new token"}
                return TemplateResponse(request, "turnlab/token_made.html", context)
        return TemplateResponse(request, "turnlab/token_add.html", context)

    def _make(self, request: HttpRequest, given: dict[str, Any]) -> tuple[tokens.TokenFacts, str]:
        return tokens.create_token(
            given["role"],
            name=given["name"],
            owner=given["owner"],
            project=given["project"].name if given["project"] else "default",
            expires_in=timedelta(days=given["days"]) if given["days"] else None,
            scopes=given["scopes"],
            by=acting(request),
            address=request.META.get("REMOTE_ADDR", ""),
        )

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Make them count no more."""
        ids = list(queryset.values_list("id", flat=True)[:100])
        for token_id in ids:
            address = request.META.get("REMOTE_ADDR", "")
            tokens.revoke_token(token_id, by=acting(request), address=address)
        messages.success(request, f"{len(ids)} tokens were revoked.")

    @admin.display(description="state")
    def state(self, row: models.Token) -> SafeString:
        """Whether it counts."""
        if row.revoked_at is not None:
            return badge("revoked", State.BAD)
        if row.expires_at is not None and row.expires_at <= datetime.now(UTC):
            return badge("expired", State.QUIET)
        return badge("active", State.GOOD)

    @admin.display(description="created, UTC", ordering="created_at")
    def created(self, row: models.Token) -> str:
        """When it was made."""
        return moment(row.created_at)

    @admin.display(description="expires, UTC")
    def expires(self, row: models.Token) -> str:
        """When it ends."""
        return moment(row.expires_at) if row.expires_at else "never"

    @admin.display(description="last used")
    def used(self, row: models.Token) -> str:
        """When it was last used, to the minute."""
        return ago(row.last_used_at) if row.last_used_at else NOTHING
