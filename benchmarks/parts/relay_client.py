"""A client that starts Tracks and does not give up: the same key until the server has taken it."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2

from benchmarks.parts.relay_service import CLUSTER, TASKS

LONGEST_PAUSE_S = 1.0
"""Retry-After may say more; this one is impatient."""

CONNECTIONS = 16
TRY_AGAIN = (429, 503)


@dataclass(kw_only=True)
class Client:
    """Starts Tracks; `accepted` has the id that each key was answered with."""

    url: str
    token: str
    params: dict[str, Any] = field(default_factory=dict)
    """Of every Module."""
    accepted: dict[str, str] = field(default_factory=dict)
    retried: Counter[str] = field(default_factory=Counter)
    """Why requests were sent again: a status with its code, or the name of an exception."""

    def __post_init__(self) -> None:
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            limits=httpx2.Limits(max_connections=CONNECTIONS),
            timeout=httpx2.Timeout(30.0, pool=None),
            trust_env=False,
        )

    async def start(self, priority: str = "batch") -> str:
        """The id of a new Track, once it was accepted."""
        key = uuid.uuid4().hex
        body: dict[str, Any] = {"cluster": CLUSTER, "text": f"say {key}", "priority": priority}
        if self.params:
            body["overrides"] = dict.fromkeys(TASKS, self.params)
        while key not in self.accepted:
            pause_s = await self._sent(key, body)
            await asyncio.sleep(pause_s)
        return self.accepted[key]

    async def _sent(self, key: str, body: dict[str, Any]) -> float:
        """Send the request once; the pause in seconds before it may be sent again."""
        try:
            answer = await self._http.post(
                "/api/v1/tracks", json=body, headers={"Idempotency-Key": key}
            )
        except httpx2.TransportError as error:
            self.retried[type(error).__name__] += 1
            return 0.2
        if answer.status_code in TRY_AGAIN:
            self.retried[f"{answer.status_code} {answer.json()['code']}"] += 1
            return min(LONGEST_PAUSE_S, float(answer.headers["Retry-After"]))
        answer.raise_for_status()
        self.accepted[key] = answer.json()["track_id"]
        return 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
