"""What is done with Tracks once nobody waits for them: uploads deleted, rules of retention kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from django.db.models import Q

from turnlab.errors import TurnlabError
from turnlab.server import incoming, models
from turnlab.server.database import Database
from turnlab.server.ownership import Owned
from turnlab.server.retention import REFUSED, Keep, after_track

logger = logging.getLogger(__name__)

TOGETHER_S = 0.5
"""Tracks that end within this time are tidied together, so that each costs little."""


class Tidying:
    """Tidies up after Tracks that have ended."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ended: list[Owned] = []
        self._news = asyncio.Event()

    def add(self, owned: Owned) -> None:
        """A Track has ended, and its records are durable."""
        self._ended.append(owned)
        self._news.set()

    async def run(self) -> None:
        """Tidy up until cancelled."""
        while True:
            await self._news.wait()
            await asyncio.sleep(TOGETHER_S)
            await self.finish()

    async def finish(self) -> None:
        """Tidy up after all that have ended so far."""
        self._news.clear()
        ended, self._ended = self._ended, []
        names = [name for each in ended for name in (each.request.audio, *each.request.images)]
        try:
            if any(names):
                await asyncio.to_thread(incoming.drop, names)
            if ended:
                await self._database.call(_keep_rules, [each.track_id for each in ended])
        except TurnlabError as error:
            logger.warning("Tracks that have ended are tidied up later: %s", error)
        except Exception:  # the hourly sweep finds what is left
            logger.exception("Tracks that have ended cannot be tidied up")


def _keep_rules(track_ids: Collection[str]) -> None:
    """Delete what must not outlive its Track."""
    text_only = models.Project.objects.filter(keep=Keep.TEXT).values("name")
    again = ~Q(rerun_of="")  # it may be that of somebody who refused meanwhile
    ruled = Q(project__in=text_only) | Q(conversation__consent=REFUSED) | again
    rows = models.Track.objects.filter(ruled, track_id__in=track_ids)
    for track_id in list(rows.values_list("track_id", flat=True)):
        after_track(track_id)
