"""/api/v1/projects and /api/v1/purge: what is kept, and what is deleted now."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Path, Router
from pydantic import Field

from turnlab.server import purging, retention
from turnlab.server.api.database import in_database
from turnlab.server.api.schemas import Strict
from turnlab.server.api.security import Bearer, principal_of

router = Router(tags=["retention"])

_ADMIN = Bearer("admin")
_AT_ONCE = 2_000
"""Tracks that one request deletes at most: it is to be answered within seconds."""

ProjectName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class KeepRule(Strict):
    """What is kept of a project's Tracks."""

    keep: Literal["all", "text", "days"] = Field(
        description="`text`: sounds and pictures go when a Track has ended; `days`: after "
        "`media_days`."
    )
    media_days: Annotated[int, Field(ge=1, le=36_500)] | None = None


class ProjectRow(KeepRule):
    """A project."""

    name: str


class ProjectList(Strict):
    """All projects."""

    items: list[ProjectRow]


class PurgeRequest(Strict):
    """Which Tracks to delete: all that is given must hold."""

    project: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    older_than_days: Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False)] | None = None
    conversation: Annotated[str, Field(pattern=r"^C-[0-9a-f]{32}$")] | None = None
    track: Annotated[str, Field(pattern=r"^T-[A-Za-z0-9_]{1,128}-[0-9a-f]{32}$")] | None = None
    everything: bool = False
    dry_run: bool = False


class Purged(Strict):
    """What was deleted, or would be."""

    tracks: int
    conversations: int
    rows: dict[str, int]
    files: int
    bytes: int
    missing: list[str]
    missing_files: int
    failed: list[str]
    under_way: int
    more: bool = Field(description="Whether there are others, for the same request again.")


@router.get("/projects", auth=_ADMIN, response=ProjectList, summary="List projects")
async def list_projects(request: HttpRequest) -> dict[str, Any]:
    """The projects and what is kept of them."""
    rules = await in_database(retention.list_projects)
    return {"items": [rule.as_json() for rule in rules]}


@router.put("/projects/{name}", auth=_ADMIN, response=ProjectRow, summary="Set a project")
async def set_project(request: HttpRequest, name: ProjectName, asked: KeepRule) -> dict[str, Any]:
    """Make a project, or change what is kept of it."""
    keep, by = retention.Keep(asked.keep), principal_of(request)
    rule = await in_database(
        retention.set_project, name, keep, asked.media_days, by=by, address=_address(request)
    )
    return rule.as_json()


@router.post("/purge", auth=_ADMIN, response=Purged, summary="Delete Tracks")
async def purge(request: HttpRequest, asked: PurgeRequest) -> dict[str, Any]:
    """Delete Tracks with their Tasks, texts, sounds and pictures: the oldest 2,000 of those that
    are chosen; `more` says whether there are others.

    Tracks under way are left alone.
    """
    days = asked.older_than_days
    selection = purging.Selection(
        project=asked.project or "",
        older_than=None if days is None else timedelta(days=days),
        conversation=asked.conversation or "",
        track=asked.track or "",
        everything=asked.everything,
    )
    tally = await in_database(
        purging.purge,
        selection,
        dry_run=asked.dry_run,
        most=_AT_ONCE,
        by=principal_of(request),
        address=_address(request),
    )
    return tally.as_json()


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))
