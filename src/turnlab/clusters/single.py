"""A Cluster of one Component, for a Module that is asked for alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlab.clusters.declaration import Cluster, Component, make_cluster

PREFIX = "MODULE_"
"""What the name of such a Cluster begins with; the task follows."""


def single(task_name: str, params: Mapping[str, Any] | None = None) -> Cluster:
    """The Cluster `MODULE_{task_name}`, whose only Component is called as its task.

    Whether there is such a Module, and whether it takes `params`, the plan says. Raises
    InvalidCluster for what cannot name a Component.
    """
    component = Component(name=task_name, task_name=task_name, params=dict(params or {}))
    return make_cluster(PREFIX + task_name, [component])
