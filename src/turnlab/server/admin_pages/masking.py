"""Parameters as people may see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlab.errors import TurnlabError
from turnlab.server.admin_pages.desk import here


def shown_parameters(task_name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a Task, what may be secret masked; all of them if its Module is unknown."""
    node = here()
    try:
        if node is not None:
            return node.registry.get(task_name).shown(parameters)
    except TurnlabError:
        pass  # a Module that was taken away, or that cannot be used any more
    return {name: "?" for name in parameters}
