"""The Router: what comes next in a Cluster, with the meaning that the seed gave it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from turnlab.clusters.catalogue import Catalogue
from turnlab.clusters.declaration import COMPLETED, Cluster, Component
from turnlab.errors import UnknownComponent
from turnlab.tasks import Task, new_id
from turnlab.tracks import parse_track_id

INIT = "init"
"""The current component before the first one."""


def create_task(
    track_id: str, component: Component, parameters: Mapping[str, Any], name: str | None = None
) -> Task:
    """The pending Task of a task Component: the one place where Tasks begin."""
    return Task(
        id=new_id(),
        track_id=track_id,
        name=name or component.name.removeprefix(COMPLETED),
        task_name=component.task_name or "",
        parameters=dict(parameters),
        created_at=datetime.now(UTC),
    )


class ClusterManager:
    """Decides the next Component. Pure, but for handing the next Task to `on_task`."""

    def __init__(
        self, clusters: Catalogue, on_task: Callable[[Task], None] = lambda task: None
    ) -> None:
        self._clusters = clusters
        self._on_task = on_task

    def get_cluster(self, cluster_name: str) -> Cluster | None:
        """The Cluster of that name, None if there is none."""
        return self._clusters.find(cluster_name)

    @staticmethod
    def get_next_chain_component(
        cluster: Cluster, current_component: str
    ) -> tuple[str, Component] | tuple[None, None]:
        """The Component after `current_component` (`init`: the first), or (None, None).

        `completed_X` and `X` mean each other where the Cluster has only one of them. Raises
        UnknownComponent.
        """
        chain = cluster.components
        if current_component == INIT:
            return chain[0].name, chain[0]
        current = cluster.component(current_component)
        if current is None:
            names = ", ".join(component.name for component in chain)
            raise UnknownComponent(
                f"{cluster.name} has no component {current_component!r}; it has {names}."
            )
        following = chain[chain.index(current) + 1 :]
        return (following[0].name, following[0]) if following else (None, None)

    def get_next(
        self, cluster_name: str, current_component: str
    ) -> tuple[str, Component] | tuple[None, None] | None:
        """The same by the Cluster's name; None if there is no such Cluster."""
        cluster = self.get_cluster(cluster_name)
        if cluster is None:
            return None
        return self.get_next_chain_component(cluster, current_component)

    def chain_next(
        self,
        track_id: str,
        current_component: str,
        next_component_params: Mapping[str, Any],
        name: str | None = None,
        user: object = None,
    ) -> str | None:
        """Create the next Task of the Track and return its id, None at the end of the chain.

        Signal Components are passed: they are hooks, sent once the row that they speak of is
        committed. The Component's own params win over `next_component_params`, as in the
        seed, whose callers may give a `user`; there are none yet. Raises InvalidTrackId,
        UnknownCluster, UnknownComponent.
        """
        cluster = self._clusters.get(parse_track_id(track_id).cluster_name)
        component = self._next_task(cluster, current_component)
        if component is None:
            return None
        parameters = {**next_component_params, **component.params}
        task = create_task(track_id, component, parameters, name)
        self._on_task(task)
        return task.id

    def _next_task(self, cluster: Cluster, current: str) -> Component | None:
        _, component = self.get_next_chain_component(cluster, current)
        while component is not None and not component.is_task:
            _, component = self.get_next_chain_component(cluster, component.name)
        return component
