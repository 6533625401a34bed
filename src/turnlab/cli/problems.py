"""What keeps a Cluster from running here, and what was found that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from turnlab.cli.session import Parts
from turnlab.clusters import Cluster, Component, make_plan
from turnlab.clusters.plan import lacking, require_speech
from turnlab.errors import TurnlabError
from turnlab.modules.registry import Registry
from turnlab.reports.words import clean


def missing_of(cluster: Cluster, registry: Registry) -> list[str]:
    """All that the Cluster lacks to run here, one line each; empty if it runs.

    What several Components lack is told once, after their names.
    """
    lacking: dict[str, list[str]] = {}
    for component in cluster.components:
        for what in _missing(component, registry) if component.is_task else ():
            lacking.setdefault(clean(what), []).append(component.name)
    if lacking:
        return [f"{', '.join(names)}: {what}" for what, names in lacking.items()]
    try:
        require_speech(make_plan(cluster, registry))
    except TurnlabError as error:
        return [clean(error.message)]
    return []


def tell_problems(parts: Parts) -> None:
    """A line on stderr for each file and package that cannot be used and was left out."""
    errors = [*parts.registry.problems, *(each.error for each in parts.catalogue.problems)]
    warn(f"{error.message} It is left out." for error in errors)


def warn(messages: Iterable[str]) -> None:
    """Tell of each message on a line of stderr."""
    console = Console(stderr=True, highlight=False)
    for message in messages:
        line = Text.assemble(("warning ", "yellow"), clean(message))
        console.print(line, soft_wrap=True)


def _missing(component: Component, registry: Registry) -> list[str]:
    """What one Component lacks, whatever its Module does when it is asked."""
    task_name = component.task_name or ""
    if task_name not in registry:
        return [f"no Module performs {task_name}; add one with --modules"]
    try:
        module = registry.get(task_name)
        return lacking(module, module.check_params(component.params))
    except TurnlabError as error:
        return [error.message]
