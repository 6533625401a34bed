"""What the figures of a Run belong to, so that turns of something else are never mixed in."""

from __future__ import annotations

import hashlib
import inspect
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import turnlab
from turnlab.clusters.budget import Limit
from turnlab.clusters.plan import Plan, Step
from turnlab.host import host_facts

_FOLLOWS = ("instance", "lanes", "batches")
"""What is told of a Component that follows from its Module and parameters."""

_GIT_S = 5.0
_READ_AT_ONCE = 2**20
_PACKAGE = Path(turnlab.__file__).parent


@dataclass(frozen=True, kw_only=True)
class Differences:
    """What has changed since a Run began, in words."""

    refused: list[str] = field(default_factory=list)
    """What figures may hang on."""
    told: list[str] = field(default_factory=list)
    """What they need not hang on: the revision of the folder that one works in."""


def make_pins(
    plans: Mapping[str, Plan], budgets: Mapping[str, Sequence[Limit]] | None = None
) -> dict[str, Any]:
    """The `pins` of a Run that begins now; reads whole model files where parameters name some."""
    budgets = budgets or {}
    return {
        "clusters": {name: _cluster(plan, budgets.get(name, ())) for name, plan in plans.items()},
        "host": host_facts(),
        "git": git_facts(Path.cwd()),
        "turnlab": turnlab.__version__,
        "models": model_pins(plans),
    }


def differences(pinned: Mapping[str, Any], now: Mapping[str, Any]) -> Differences:
    """What differs between the pins of a Run and those that it would have now.

    Budgets are left out, since no turn hangs on them, and what follows from what else is pinned.
    """
    flat = [dict(_flat(_compared(pins))) for pins in (pinned, now)]
    refused = [_told(place, *(each.get(place) for each in flat)) for place in _places(*flat)]
    git = [pins.get("git") or {} for pins in (pinned, now)]
    changed = [key for key in ("revision", "dirty") if git[0].get(key) != git[1].get(key)]
    told = [_told(f"git.{key}", *(each.get(key) for each in git)) for key in changed]
    return Differences(refused=refused, told=told)


def git_facts(folder: Path) -> dict[str, Any] | None:
    """`revision` of the checkout that `folder` lies in, and whether files in it are changed.

    None where it is no checkout, has no commit yet, or there is no git.
    """
    revision = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if not revision or changed is None:
        return None
    return {"revision": revision.strip(), "dirty": bool(changed.strip())}


def _git(folder: Path, *arguments: str) -> str | None:
    # Nothing of the repository's own may be run, nor anything asked, nor a lock taken.
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *arguments]
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_S,
            check=False,
            env=quiet,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _cluster(plan: Plan, limits: Sequence[Limit]) -> dict[str, Any]:
    cluster = plan.cluster
    return {
        "hash": cluster.content_hash,
        "description": cluster.description,
        "budget": [limit.text for limit in limits],
        "components": [{**component_pins(step), **depends_pins(step)} for step in plan.steps],
    }


def component_pins(step: Step) -> dict[str, Any]:
    """What a Component's figures belong to, as its Cluster tells it."""
    module = step.module
    return {
        "name": step.name,
        "task_name": module.task_name,
        "version": module.version,
        "code": _code(module),
        "params": module.shown(step.params.model_dump(mode="json")),
        "produces": step.produces.kind,
        "reads": {kind.kind: producer for kind, producer in step.reads.items()},
        "concurrency": module.concurrency,
        "lanes": module.lanes(step.params),
        "batches": module.batches,
        "instance": module.instance_key(step.params),
        "timeout_s": step.component.timeout_s or module.timeout_s,
    }


def depends_pins(step: Step) -> dict[str, Any]:
    """What the Module itself says that its results depend on, where it says anything."""
    found = step.module.pinned(step.params)
    return {"pinned": dict(found)} if found else {}


def _code(module: type[Any]) -> str | None:
    """SHA-256 of the file of a user's Module, whose version says nothing unless it is raised."""
    try:
        path = Path(inspect.getfile(module))
    except (OSError, TypeError):
        return None
    return _digest(path) if path.is_file() and _PACKAGE not in path.parents else None


def model_pins(plans: Mapping[str, Plan]) -> dict[str, str]:
    """Versions of the packages that Modules name, and SHA-256 of models that lie elsewhere."""
    modules = {step.module for plan in plans.values() for step in plan.steps}
    names = sorted({name for module in modules for name in module.packages})
    found = {name: each for name in names if (each := _version(name))}
    for path in sorted({path for plan in plans.values() for path in _named(plan)}):
        found[str(path)] = _digest(path)
    return found


def _named(plan: Plan) -> Iterator[Path]:
    """Files and folders that a parameter names as a model, a voice or a path."""
    for step in plan.steps:
        fields = step.module.Params.model_fields
        for name, value in step.params.model_dump().items():
            extra = fields[name].json_schema_extra if name in fields else None
            loaded = isinstance(extra, dict) and bool(extra.get("loaded"))
            if loaded and isinstance(value, str) and _is_place(name):
                yield from _found(value)


def _is_place(name: str) -> bool:
    return name in ("model", "voice") or name.endswith("path")


def _found(value: str) -> Iterator[Path]:
    try:
        path = Path(value).expanduser().absolute()
        if value and path.exists():
            yield path
    except (OSError, RuntimeError, ValueError):  # no path: the name of a model elsewhere
        return


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and bytes of all files in a folder."""
    digest = hashlib.sha256()
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(f"{file.relative_to(path)}\0".encode())
        with file.open("rb") as opened:
            while block := opened.read(_READ_AT_ONCE):
                digest.update(block)
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _compared(pins: Mapping[str, Any]) -> dict[str, Any]:
    clusters = {
        name: {
            **_without(cluster, "budget", "description"),
            "components": [_without(each, *_FOLLOWS) for each in cluster.get("components", ())],
        }
        for name, cluster in pins.get("clusters", {}).items()
    }
    return {**pins, "clusters": clusters, "git": None}


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf with its place, Components by their names."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _flat(each, f"{place}.{key}" if place else str(key))
    elif place.endswith(".components"):
        yield place, [each["name"] for each in value]
        for each in value:
            yield from _flat(each, f"{place.removesuffix('.components')}.{each['name']}")
    else:
        yield place, list(value) if isinstance(value, tuple) else value


def _places(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Where the two differ."""
    places = dict.fromkeys((*before, *now))
    return [place for place in places if before.get(place) != now.get(place)]


def _told(place: str, before: Any, now: Any) -> str:
    return f"{place} was {_short(before)}, is {_short(now)}"


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:12]}... ({len(text)} characters)"
