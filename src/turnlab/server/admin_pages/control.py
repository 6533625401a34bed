"""What people do to Tracks at the admin: cancel them and run them again, through the node."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.core.files.storage import default_storage
from django.forms.models import model_to_dict
from django.http import HttpRequest

from turnlab.clusters import Cluster
from turnlab.clusters.plan import make_plan
from turnlab.errors import InvalidRequest, TurnlabError
from turnlab.server.admin_pages.acting import acting, note
from turnlab.server.admin_pages.desk import done, here
from turnlab.server.api.starting import kept_request
from turnlab.server.models import Track
from turnlab.server.node import Accepted, Node, current_node
from turnlab.server.queries import get_track
from turnlab.server.requests import TrackRequest, given_kinds
from turnlab.work import Priority


@dataclass(frozen=True, slots=True)
class Choice:
    """A Cluster that a Track can be run through."""

    name: str
    description: str


def cancel(request: HttpRequest, track_id: str) -> None:
    """Cancel a Track, on whichever node it runs; one that has ended stays as it is.

    Raises InvalidTrackId, UnknownTrack, NotReady.
    """
    node = current_node()
    note(request, "track.cancel", track_id)
    done(node.cancel(track_id))


def rerun(
    request: HttpRequest, track_id: str, cluster: str = "", priority: Priority = Priority.LIVE
) -> Accepted:
    """Run what the user gave in a Track again, through the same Cluster or another one.

    The new Track belongs to the person who asks for it, in the project of the old one. Raises
    UnknownTrack, InvalidRequest where its input is not kept, and what `Node.accept` does.
    """
    node, row = current_node(), _row(track_id)
    asked = replace(request_of(row, cluster), priority=priority)
    accepted = done(node.accept(asked, owner=acting(request).owner, project=row.project))
    note(request, "track.rerun", track_id, cluster=asked.cluster, made=accepted.track_id)
    return accepted


def request_of(row: Track, cluster: str = "") -> TrackRequest:
    """What was asked of a Track, once more and by itself; `cluster` in place of its own.

    Parameters that were set for it go along only to the same Cluster. Raises InvalidRequest if
    the input of the Track is not kept.
    """
    asked = kept_request(model_to_dict(row))
    names = [name for name in (asked.audio, *asked.images) if name]
    if not all(map(default_storage.exists, names)):
        raise InvalidRequest("What the user gave was deleted, so it cannot be run again.")
    if cluster in ("", asked.cluster):
        return asked
    return replace(asked, cluster=cluster, task_name="", overrides={}, wanted="")


def choices(row: Track) -> list[Choice]:
    """The Clusters that take what the user gave in this Track, by name, and can run here now.

    None while there is no node, or if nothing is kept of the input.
    """
    node = here()
    if node is None:
        return []
    try:
        asked = request_of(row)
    except TurnlabError:
        return []
    return done(_choices(node, asked))


async def _choices(node: Node, asked: TrackRequest) -> list[Choice]:
    """On the event loop, whose hub it reads."""
    found = [each for each in node.catalogue if _fits(node, each, asked)]
    return sorted((Choice(each.name, each.description) for each in found), key=lambda c: c.name)


def _fits(node: Node, cluster: Cluster, asked: TrackRequest) -> bool:
    given = given_kinds(asked)
    try:
        plan = make_plan(cluster, node.registry, given=given)
    except TurnlabError:
        return False  # `turnlab clusters check` says what is wrong with it
    served = all(node.hub.room(step.module.task_name).places for step in plan.steps)
    return served and plan.needs <= set(given)


def _row(track_id: str) -> Track:
    get_track(track_id)  # raises InvalidTrackId, UnknownTrack
    return Track.objects.get(track_id=track_id)
