"""Turnlab's admin site with all that it shows; Django imports this where it has an admin."""

from __future__ import annotations

from django.contrib.auth.models import User

from turnlab.server import models
from turnlab.server.admin_pages.machines import NodeAdmin, WorkerAdmin
from turnlab.server.admin_pages.people import (
    AccountAdmin,
    AuditAdmin,
    ConversationAdmin,
    ProjectAdmin,
)
from turnlab.server.admin_pages.site import TurnlabSite
from turnlab.server.admin_pages.tasks import TaskAdmin
from turnlab.server.admin_pages.tokens import TokenAdmin
from turnlab.server.admin_pages.tracks import TrackAdmin

site = TurnlabSite()
site.register(models.Track, TrackAdmin)
site.register(models.Conversation, ConversationAdmin)
site.register(models.Task, TaskAdmin)
site.register(models.Worker, WorkerAdmin)
site.register(models.Node, NodeAdmin)
site.register(models.Project, ProjectAdmin)
site.register(models.Token, TokenAdmin)
site.register(models.AuditEntry, AuditAdmin)
site.register(User, AccountAdmin)
