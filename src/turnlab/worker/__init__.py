"""The AI end: dials an API process, runs its Tasks through any Executor. It needs no Django."""

from turnlab.worker.client import WorkerClient
from turnlab.worker.offering import Offering, ServedModules

__all__ = ["Offering", "ServedModules", "WorkerClient"]
