"""Sends sounds and pictures: by a signed link, or with a token that may read their Track."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import IO, Any

from django.core.exceptions import SuspiciousOperation
from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from turnlab.server import models
from turnlab.server.api.database import in_database
from turnlab.server.api.security import authorised
from turnlab.server.links import check_media_url
from turnlab.server.problems import Refused, answer, problem
from turnlab.server.roles import Principal, may_read

TYPES = {
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".wav": "audio/wav",
    ".webp": "image/webp",
}
"""What is shown by a browser; everything else can only be saved."""

_TABLES: tuple[type[Any], ...] = (models.DataAudio, models.DataImage, models.ResSpeech)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_BLOCK = 1 << 18


@csrf_exempt  # tokens need no cookie; of other methods a problem tells
async def media(request: HttpRequest, name: str) -> HttpResponseBase:
    """GET or HEAD /media/{name}: the file, or the part of it that a Range names."""
    try:
        if request.method not in ("GET", "HEAD"):
            return _method_not_allowed(request)
        await _check(request, name)
        return await send_file(request, name)
    except Exception as error:
        return answer(error, request)


def _method_not_allowed(request: HttpRequest) -> HttpResponse:
    response = problem(Refused(405, f"{request.method} is not possible here; use GET."), request)
    response["Allow"] = "GET, HEAD"
    return response


async def _check(request: HttpRequest, name: str) -> None:
    """Raise Forbidden or InvalidToken unless the link or the token allows it."""
    if "signature" in request.GET:
        asked = [request.GET.get(key, "") for key in ("expires", "signature", "owner")]
        check_media_url(name, *asked)
        return
    principal = await authorised(request, "media:read")
    if not await in_database(_is_readable, principal, name):
        raise Refused(404, "There is no such file.")


def _is_readable(principal: Principal, name: str) -> bool:
    """Whether the file belongs to a Track that the Principal may read."""
    content_id = PurePosixPath(name).stem
    for table in _TABLES:
        rows = table._default_manager.filter(id=content_id, file=name)
        owner = rows.values_list("track__owner", flat=True).first()
        if owner is not None:
            return may_read(principal, owner)
    return False


async def send_file(request: HttpRequest, name: str) -> HttpResponseBase:
    """The file of the media storage, so that players can seek in it.

    Raises Refused: 404 if it is gone, 416 if the Range lies behind its end.
    """
    file, size = await asyncio.to_thread(_opened, name)
    part = _part(request.headers.get("Range", ""), size)
    if part is None:
        file.close()
        response = problem(Refused(416, f"The file has {size} bytes."), request)
        response["Content-Range"] = f"bytes */{size}"
        return response
    first, end, partial = part
    response_: HttpResponseBase
    if request.method == "HEAD":
        file.close()
        response_ = HttpResponse(status=206 if partial else 200)
    else:
        response_ = StreamingHttpResponse(_blocks(file, first, end), status=206 if partial else 200)
    if partial:
        response_["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
    response_["Content-Length"] = str(end - first)
    return _named(response_, name)


def _named(response: HttpResponseBase, name: str) -> HttpResponseBase:
    path = PurePosixPath(name)
    known = TYPES.get(path.suffix)
    headers = {
        "Content-Type": known or "application/octet-stream",
        "Content-Disposition": f'{"inline" if known else "attachment"}; filename="{path.name}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    for key, value in headers.items():
        response[key] = value
    return response


def _opened(name: str) -> tuple[IO[bytes], int]:
    try:
        file = default_storage.open(name)
        return file, file.size
    except (OSError, SuspiciousOperation, ValueError) as error:
        raise Refused(404, "There is no such file.") from error


def _part(header: str, size: int) -> tuple[int, int, bool] | None:
    """First byte, end, and whether that is a part; None where there are no such bytes.

    What is no range of bytes, and several ranges at once, count as nothing (RFC 9110, 14.2).
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return 0, size, False
    if match[1]:
        first = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < first:
            return 0, size, False
    else:
        first, end = max(0, size - int(match[2])), size
    return (first, end, True) if first < end else None


async def _blocks(file: IO[bytes], first: int, end: int) -> AsyncIterator[bytes]:
    try:
        await asyncio.to_thread(file.seek, first)
        left = end - first
        while left > 0:
            block = await asyncio.to_thread(file.read, min(_BLOCK, left))
            if not block:
                return
            left -= len(block)
            yield block
    finally:
        file.close()
