"""What the figures of a report belong to, in words: its Runs, their Clusters, the machine."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from turnlab.bench.replay.asked import folder_options, masked_options
from turnlab.reports.run_report import Pins
from turnlab.runs import Run, RunStatus

_SHOWN = 60


def pins_of(runs: Sequence[Run], made_at: datetime) -> tuple[Pins, ...]:
    """For each Run what it was, what it ran on and which Clusters, then when this was written."""
    found: list[Pins] = []
    for run in runs:
        heading = f"Run {run.name} ({run.id})" if run.name else f"Run {run.id}"
        found.append(Pins(heading=heading, facts=_run(run), command=command(run)))
        found.append(Pins(heading="Machine", facts=_host(run.pins.get("host", {}))))
        for name, pinned in run.pins.get("clusters", {}).items():
            found.append(Pins(heading=name, facts=_cluster(pinned)))
        if models := run.pins.get("models"):
            found.append(
                Pins(heading="Models", facts={k: _hash(str(v)) for k, v in models.items()})
            )
    found.append(Pins(heading="This report", facts={"written": _time(made_at)}))
    return tuple(found)


def _run(run: Run) -> dict[str, str]:
    asked = run.asked
    return {
        "begun": _time(run.created_at),
        "status": str(run.status),
        "dataset": f"{run.dataset}, hash {_hash(run.dataset_hash)}",
        "turns": f"{run.turns:,}",
        "pace": str(asked.get("pace", "")),
        "at once": str(asked.get("concurrency", "")),
        "Turnlab": str(run.pins.get("turnlab", "not known")),
        "revision": _revision(run.pins.get("git")),
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _revision(git: Mapping[str, Any] | None) -> str:
    if not git:
        return "no git checkout"
    changed = ", with changes" if git.get("dirty") else ""
    return f"{str(git.get('revision', ''))[:12]}{changed}"


def command(run: Run) -> str:
    """The command that begins such a Run."""
    asked = run.asked
    options: list[tuple[str, Any]] = [
        ("--clusters", ",".join(asked.get("clusters", ()))),
        ("--dataset", asked.get("dataset", run.dataset)),
        ("--mode", ",".join(asked.get("modes", ()))),
        ("--repeat", asked.get("repeat", 1)),
        ("--concurrency", asked.get("concurrency", 1)),
        ("--pace", asked.get("pace", "")),
        ("--only-tags", ",".join(asked.get("only_tags", ()))),
        *(("--budget", text) for text in asked.get("budget", ())),
        *(("--set", text) for text in _overrides(asked.get("overrides", {}))),
        *folder_options(asked),
    ]
    return _typed("turnlab bench", options)


def resume_command(run: Run) -> str:
    """The command that goes on with the Run."""
    options = [*folder_options(run.asked), *masked_options(run.asked)]
    return _typed(f"turnlab bench --resume {run.id}", options)


def _typed(command: str, options: Sequence[tuple[str, Any]]) -> str:
    told = (f"{name} {shlex.quote(str(value))}" for name, value in options if value != "")
    return " ".join([command, *told])


def _overrides(overrides: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"{component}.{name}={value if isinstance(value, str) else json.dumps(value)}"
        for component, params in overrides.items()
        for name, value in params.items()
    ]


def _host(host: Mapping[str, Any]) -> dict[str, str]:
    facts = {name: str(value) for name, value in host.items() if name != "engines"}
    engines = host.get("engines") or {}
    versions = ", ".join(f"{name} {version}" for name, version in engines.items())
    return {**facts, "engines": versions} if versions else facts


def _cluster(pinned: Mapping[str, Any]) -> dict[str, str]:
    facts = {"hash": _hash(str(pinned.get("hash", "")))}
    if budget := pinned.get("budget"):
        facts["limits"] = "; ".join(map(str, budget))
    for component in pinned.get("components", ()):
        facts[str(component.get("name", ""))] = _component(component)
    return facts


def _component(component: Mapping[str, Any]) -> str:
    task, version = component.get("task_name", ""), component.get("version", "")
    shown = (f"{name}={_short(value)}" for name, value in component.get("params", {}).items())
    depends = (f"{name} {_hash(each)}" for name, each in component.get("pinned", {}).items())
    return ", ".join([f"{task} {version}".strip(), *shown, *depends])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _hash(digest: str) -> str:
    return digest[:16] if len(digest) in (40, 64) else digest


def unfinished(runs: Sequence[Run]) -> list[str]:
    """What must be said of Runs that are not complete."""
    return [
        f"{run.id} is not complete: `{resume_command(run)}` goes on with it. The figures are of "
        "the turns that have ended so far."
        for run in runs
        if run.status is not RunStatus.COMPLETED
    ]
