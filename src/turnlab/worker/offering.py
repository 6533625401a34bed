"""What a worker serves."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from turnlab.clusters.plan import Plan, Step, lacking
from turnlab.clusters.single import single
from turnlab.errors import TurnlabError, UnknownModule
from turnlab.modules.base import Module
from turnlab.modules.registry import Registry
from turnlab.wire.fields import Offer


class Offering(Protocol):
    """What a worker serves, as it is now."""

    @property
    def concurrency(self) -> int:
        """How many Tasks at once, of whatever name."""
        ...

    def offers(self) -> tuple[Offer, ...]:
        """Its Modules."""
        ...

    def module(self, task_name: str) -> type[Module]:
        """The Module that performs `task_name`. Raises UnknownModule if it is not served."""
        ...

    def began(self, task_name: str) -> None:
        """A Module has begun with a Task, so it is loaded."""
        ...


class ServedModules:
    """Modules that run in this process, as many Tasks of each as it takes."""

    def __init__(
        self, registry: Registry, task_names: Iterable[str], concurrency: int | None = None
    ) -> None:
        self._modules = {name: registry.get(name) for name in task_names}
        self._loaded: set[str] = set()
        places = sum(module.concurrency for module in self._modules.values())
        self.concurrency = places if concurrency is None else concurrency
        """By default as much as its Modules take together."""

    def offers(self) -> tuple[Offer, ...]:
        """Its Modules, by name."""
        return tuple(
            Offer(
                task_name=name,
                version=module.version,
                loaded=name in self._loaded,
                places=min(module.concurrency, self.concurrency),
            )
            for name, module in sorted(self._modules.items())
        )

    def module(self, task_name: str) -> type[Module]:
        """The Module that performs `task_name`."""
        if task_name not in self._modules:
            names = ", ".join(sorted(self._modules)) or "nothing"
            raise UnknownModule(f"This worker does not serve {task_name:.100}; it serves {names}.")
        return self._modules[task_name]

    def began(self, task_name: str) -> None:
        """It is loaded."""
        self._loaded.add(task_name)


def runnable(registry: Registry) -> tuple[str, ...]:
    """The tasks whose Modules say, for their default parameters, that they lack nothing here."""
    here = [module for module in registry if module.run is not Module.run]
    return tuple(module.task_name for module in here if not missing(module))


def missing(module: type[Module]) -> Collection[str]:
    """What `module` lacks here, in words, to run with its default parameters."""
    try:
        params = module.check_params({})
    except TurnlabError as error:
        return [error.message]
    return lacking(module, params)


def alone(module: type[Module]) -> Plan:
    """The plan of `module` with its default parameters, to load and warm it by.

    Raises InvalidParams if it has parameters that must be given.
    """
    params = module.check_params({})
    cluster = single(module.task_name)
    component = cluster.components[0]
    step = Step(component=component, module=module.wired(params), params=params, reads={})
    return Plan(cluster=cluster, steps=(step,))
