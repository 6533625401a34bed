"""The Worker inside this process, as the Hub sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from turnlab.chunks import Chunk
from turnlab.executors.embedded import EmbeddedExecutor
from turnlab.modules.base import Module
from turnlab.modules.registry import Registry
from turnlab.work import EMBEDDED, Work

PLENTY = 1_000_000


class EmbeddedLink:
    """Serves every Module of the registry that has code of its own, as many as each takes."""

    id = transport = EMBEDDED
    draining = False
    room = PLENTY

    def __init__(self, executor: EmbeddedExecutor, registry: Registry) -> None:
        self.executor = executor
        self._registry = registry

    def places(self, task_name: str) -> int:
        """The Module's own concurrency; 0 for one that is only declared, for Workers elsewhere."""
        if task_name not in self._registry:
            return 0
        module = self._registry.get(task_name)
        return module.concurrency if module.run is not Module.run else 0

    def perform(self, work: Work, attempt: int) -> AsyncIterator[Chunk]:
        """As the embedded executor does."""
        return self.executor.perform(work)
