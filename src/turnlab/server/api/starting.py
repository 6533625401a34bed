"""From a request to the Track that answers it: read, checked against what may be asked, taken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import TemporaryUploadedFile
from django.http import HttpRequest
from pydantic import ValidationError

from turnlab.chunks import Image
from turnlab.clusters.declaration import Cluster
from turnlab.errors import InvalidParams, InvalidRequest
from turnlab.server import models
from turnlab.server.api import bodies, uploads
from turnlab.server.api.database import in_database
from turnlab.server.api.reading import conversation_row, require_own
from turnlab.server.api.schemas import StartTrack
from turnlab.server.api.security import OVERRIDERS
from turnlab.server.api.uploads import Upload
from turnlab.server.config import config
from turnlab.server.node import NEW, Accepted, Node
from turnlab.server.ownership import Repeat
from turnlab.server.problems import Refused
from turnlab.server.requests import TrackRequest
from turnlab.server.retention import refused
from turnlab.server.roles import Principal
from turnlab.tracks import TrackStatus
from turnlab.work import Priority

_KEY_LENGTH = 255


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request for a Track, read and checked as far as that needs no Cluster."""

    values: StartTrack
    audio: Path | None
    images: tuple[Image, ...]
    fingerprint: str


async def start(request: HttpRequest, principal: Principal, node: Node) -> Accepted:
    """Accept the Track that `request` asks for.

    Raises InvalidRequest, TooLarge, InvalidAudio, InvalidImage, InvalidParams,
    UnknownConversation, Forbidden where that is somebody else's, and what `Node.accept` raises.
    """
    received_s = bodies.received_s(request)
    with ExitStack() as files:
        asked = await in_database(_read, request, files)
        values = asked.values
        _check_overrides(node.catalogue.get(values.cluster), values.overrides, principal)
        if values.conversation not in (None, NEW):
            await in_database(_check_conversation, principal, str(values.conversation))
        return await node.accept(
            _wanted(values),
            owner=principal.owner,
            project=principal.project,
            audio=asked.audio,
            images=asked.images,
            repeat=repeat_of(request, asked.fingerprint),
            received_s=received_s,
        )


def _check_conversation(principal: Principal, conversation_id: str) -> None:
    require_own(principal, conversation_row(principal, conversation_id))


def _wanted(values: StartTrack) -> TrackRequest:
    return TrackRequest(
        cluster=values.cluster,
        mode=values.mode,
        overrides=values.overrides,
        conversation_id=values.conversation,
        text=values.text,
        last_voiced_s=values.last_voiced_s,
        waited_s=values.waited_s,
        priority=Priority(values.priority),
        deliver=values.deliver,
    )


def _read(request: HttpRequest, files: ExitStack) -> Asked:
    """The request with its parts; what lies in temporary files goes when `files` is closed."""
    uploads.require_type(request, uploads.MULTIPART, uploads.JSON)
    values, audio, images = _parts(request)
    for each in (*images, *([audio] if audio else [])):
        files.callback(each.close)
    path = None if audio is None else _path(audio)
    if path is not None:
        uploads.check_recording(path, config().max_speech_s)
    return Asked(
        values=_validated(values),
        audio=path,
        images=tuple(uploads.read_images(images)),
        fingerprint=_fingerprint(request.path, values, [*([audio] if audio else []), *images]),
    )


def _parts(request: HttpRequest) -> tuple[Any, Upload | None, list[Upload]]:
    if request.content_type == uploads.JSON:
        return uploads.read_json(uploads.json_body(request)), None, []
    return uploads.read_parts(request)


def _path(audio: Upload) -> Path:
    assert isinstance(audio, TemporaryUploadedFile)  # its upload handler makes no others
    return Path(audio.temporary_file_path())


def _validated(values: Any) -> StartTrack:
    try:
        return StartTrack.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(["body", *(str(part)[:100] for part in first["loc"])])
        raise InvalidRequest(f"{place[:300]}: {first['msg']}.") from None


def _fingerprint(path: str, values: Any, files: list[Upload]) -> str:
    """SHA-256 of all that the request asks for."""
    digest = hashlib.sha256(json.dumps([path, values], sort_keys=True).encode())
    for file in files:
        file.seek(0)
        content = hashlib.sha256()
        for block in file.chunks():
            content.update(block)
        digest.update(content.digest())
    return digest.hexdigest()


def fingerprint_of(path: str, values: Mapping[str, Any]) -> str:
    """SHA-256 of a request without files."""
    return _fingerprint(path, values, [])


def repeat_of(request: HttpRequest, fingerprint: str) -> Repeat | None:
    """The Idempotency-Key of the request, if it has one. Raises InvalidRequest."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (0 < len(key) <= _KEY_LENGTH and key.isascii() and key.isprintable()):
        raise InvalidRequest(
            f"header.Idempotency-Key: must be 1 to {_KEY_LENGTH} printable ASCII characters."
        )
    return Repeat(key=key, fingerprint=fingerprint)


def _check_overrides(
    cluster: Cluster, overrides: Mapping[str, Mapping[str, Any]], principal: Principal
) -> None:
    """Raise InvalidParams unless all parameters are open, or the Principal may set any."""
    if principal.role in OVERRIDERS:
        return
    for name, values in overrides.items():
        component = next((c for c in cluster.components if c.name == name), None)
        allowed = set(component.open) if component else set()
        if closed := set(values) - allowed:
            told = ", ".join(f"{c.name}.{p}" for c in cluster.components for p in c.open)
            raise InvalidParams(
                f"{name}.{min(closed)[:100]} of {cluster.name} is not open to clients; "
                f"{'open are ' + told if told else 'nothing of it is'}.",
                component=name,
            )


async def start_again(
    request: HttpRequest,
    principal: Principal,
    node: Node,
    row: Mapping[str, Any],
    *,
    cluster: str | None,
    deliver: bool,
) -> Accepted:
    """Accept a new Track with the kept input of the Track `row`, through `cluster` where given.

    It belongs to no Conversation, since it is no later turn of one, and to the project of the old
    Track, whose rules it is kept by. Raises Refused (409) where the input is not kept, and what
    `start` raises.
    """
    wanted = await in_database(kept_request, row)
    if cluster not in (None, wanted.cluster):
        wanted = replace(wanted, cluster=str(cluster), task_name="", wanted="", overrides={})
    if wanted.cluster:
        _check_overrides(node.catalogue.get(wanted.cluster), wanted.overrides, principal)
    asked = {"cluster": cluster, "deliver": deliver}
    return await node.accept(
        replace(wanted, deliver=deliver),
        owner=principal.owner,
        project=row["project"],
        repeat=repeat_of(request, fingerprint_of(request.path, asked)),
        received_s=None,
    )


def kept_request(row: Mapping[str, Any]) -> TrackRequest:
    """What was asked of a Track, with its media under the names that they are kept by."""
    track_id = row["track_id"]
    if refused([track_id]):
        raise Refused(409, f"The user of {track_id} wants nothing kept, so it cannot run again.")
    wanted = TrackRequest.from_json(
        row["request"] or {"cluster": row["cluster"], "mode": row["mode"]}
    )
    sounds = _kept(models.DataAudio, track_id)
    pictures = _kept(models.DataImage, track_id)
    had_sound = bool(wanted.audio) or row["speech_s"] is not None
    if len(sounds) < had_sound or len(pictures) < len(wanted.images):
        ended = TrackStatus(row["status"]).ended
        told = "is no longer kept" if ended else "is not kept yet; wait until it has ended"
        raise Refused(409, f"The input of {track_id} {told}.")
    if not (sounds or pictures or wanted.text):
        raise Refused(409, f"Nothing is kept of what was asked in {track_id}.")
    return replace(
        wanted,
        audio=sounds[0] if sounds else "",
        images=tuple(pictures),
        conversation_id=None,
        rerun_of=track_id,
        begun=0,
    )


def _kept(table: type[Any], track_id: str) -> list[str]:
    """The files of what the user gave."""
    rows = table._default_manager.filter(track_id=track_id, task_id=None).exclude(file="")
    return list(rows.order_by("created_at", "id").values_list("file", flat=True))
