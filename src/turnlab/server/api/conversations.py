"""/api/v1/conversations: the turns of one session with one user."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from ninja import Router, Status

from turnlab.conversations import Conversation
from turnlab.server import models, ownership, queries
from turnlab.server.api import reading, starting
from turnlab.server.api.database import in_database
from turnlab.server.api.schemas import (
    ChangeConversation,
    ConversationDetail,
    ConversationList,
    ConversationRow,
    Cursor,
    IdempotencyKey,
    Limit,
    StartConversation,
)
from turnlab.server.api.security import Bearer, principal_of
from turnlab.server.audit import audit
from turnlab.server.ownership import Repeat
from turnlab.server.retention import REFUSED, consent_changed
from turnlab.server.roles import Principal

router = Router(tags=["conversations"])


@router.get(
    "/conversations",
    auth=Bearer("tracks:read"),
    response=ConversationList,
    summary="List Conversations",
)
async def list_conversations(
    request: HttpRequest,
    cursor: Cursor | None = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Your Conversations, newest first; everybody's with the scope tracks:read_all."""
    return await in_database(reading.conversation_page, principal_of(request), cursor, limit)


@router.post(
    "/conversations",
    auth=Bearer("tracks:start"),
    response={201: ConversationRow},
    summary="Begin a Conversation",
)
async def start_conversation(
    request: HttpRequest,
    response: HttpResponse,
    asked: StartConversation,
    idempotency_key: IdempotencyKey = None,
) -> Status[dict[str, Any]]:
    """An empty Conversation, whose id Tracks then name."""
    principal = principal_of(request)
    mark = starting.fingerprint_of(request.path, asked.model_dump())
    repeat = starting.repeat_of(request, mark)
    conversation_id, repeated = await in_database(_begin, principal, asked.consent, repeat)
    if repeated:
        response["Idempotency-Replayed"] = "true"
    response["Location"] = f"/api/v1/conversations/{conversation_id}"
    return Status(201, await in_database(reading.conversation_row, principal, conversation_id))


def _begin(principal: Principal, consent: str, repeat: Repeat | None) -> tuple[str, bool]:
    """The id of the Conversation, and whether an earlier request under the key made it."""
    made = Conversation()
    try:
        with transaction.atomic():
            if repeat is not None:
                models.IdempotencyKey.objects.create(
                    owner=principal.owner,
                    key=repeat.key,
                    fingerprint=repeat.fingerprint,
                    track_id=made.id,
                    created_at=made.created_at,
                )
            models.Conversation.objects.create(
                id=made.id,
                created_at=made.created_at,
                owner=principal.owner,
                project=principal.project,
                consent=consent,
            )
    except IntegrityError:
        earlier = ownership.repeated(principal.owner, repeat) if repeat else None
        if earlier is None:
            raise
        return earlier, True
    return made.id, False


@router.get(
    "/conversations/{conversation_id}",
    auth=Bearer("tracks:read"),
    response=ConversationDetail,
    summary="Read a Conversation",
)
async def get_conversation(request: HttpRequest, conversation_id: str) -> dict[str, Any]:
    """A Conversation with what was said in it."""
    return await in_database(_detail, principal_of(request), conversation_id)


def _detail(principal: Principal, conversation_id: str) -> dict[str, Any]:
    row = reading.conversation_row(principal, conversation_id)
    exchanges = queries.get_conversation(conversation_id).exchanges
    return {**row, "exchanges": [asdict(each) for each in exchanges]}


@router.patch(
    "/conversations/{conversation_id}",
    auth=Bearer("tracks:start"),
    response=ConversationRow,
    summary="Change a Conversation",
)
async def change_conversation(
    request: HttpRequest, conversation_id: str, asked: ChangeConversation
) -> dict[str, Any]:
    """Say whether the user of one of your Conversations lets the records be kept."""
    return await in_database(_change, principal_of(request), conversation_id, asked.consent)


def _change(principal: Principal, conversation_id: str, consent: str) -> dict[str, Any]:
    reading.require_own(principal, reading.conversation_row(principal, conversation_id))
    models.Conversation.objects.filter(id=conversation_id).update(consent=consent)
    audit(principal, "conversation.consent", conversation_id, {"consent": consent})
    if consent == REFUSED:
        consent_changed(conversation_id)
    return reading.conversation_row(principal, conversation_id)
