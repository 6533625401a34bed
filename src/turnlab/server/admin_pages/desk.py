"""What the admin asks of this process's node: its Clusters and Modules, and that it runs things."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from turnlab.errors import NotReady

if TYPE_CHECKING:
    from turnlab.server.node import Node

T = TypeVar("T")

_PATIENCE_S = 30.0


def here() -> Node | None:
    """This process's node; None while it starts or stops, or where nothing is served."""
    from turnlab.server.node import current_node

    try:
        return current_node()
    except NotReady:
        return None


def done(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, run on the event loop of the node from this thread.

    Raises what it raises, NotReady, and TimeoutError after half a minute.
    """
    from turnlab.server.node import current_node

    try:
        node = current_node()
    except NotReady:
        work.close()
        raise
    result: T = node.submit(work).result(_PATIENCE_S)
    return result


def budgets() -> dict[str, float]:
    """The budget of each Cluster that has one, in seconds; none while there is no node."""
    node = here()
    if node is None:
        return {}
    return {each.name: each.budget_s for each in node.catalogue if each.budget_s}
