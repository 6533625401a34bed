"""Hands a whole request on to the API process that it concerns, in the name of the same client."""

from __future__ import annotations

from collections.abc import Mapping

import httpx2

from turnlab.errors import ServerLost
from turnlab.server import models
from turnlab.server.database import Database

TIMEOUT_S = 30.0


async def forward(
    database: Database,
    node_id: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what the process `node_id` answers. Raises ServerLost."""
    url = await database.call(url_of, node_id)
    if url is None:
        raise ServerLost("The API process that this concerns is gone.")
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            answer = await client.request(
                method, url.rstrip("/") + path, headers=dict(headers), content=body
            )
    except httpx2.HTTPError as error:
        raise ServerLost("The API process that this concerns does not answer.") from error
    return answer.status_code, dict(answer.headers), answer.content


def url_of(node_id: str) -> str | None:
    """Where the API process is reached, if it is still known; call it off the event loop."""
    return models.Node.objects.filter(id=node_id).values_list("url", flat=True).first()
