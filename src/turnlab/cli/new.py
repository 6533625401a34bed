"""`turnlab modules new`, `turnlab clusters new`, `turnlab clusters import`: files to begin with."""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from turnlab.cli.problems import warn
from turnlab.cli.session import ModuleFolders, find_registry
from turnlab.cli.templates.module import KINDS, module_test, module_text
from turnlab.clusters import Component, make_plan
from turnlab.clusters.budget import voice_to_voice
from turnlab.clusters.declaration import make_cluster
from turnlab.clusters.plan import require_speech
from turnlab.clusters.seed import read_declarations
from turnlab.clusters.writer import to_toml
from turnlab.errors import InvalidModule, OutputFailed
from turnlab.modules.registry import find_modules, is_test

BUDGET_S = 1.5
"""The limit that a new Cluster is held to: beyond it, people find a conversation slow."""

NOTE = """\
`turnlab modules show TASK` lists the parameters of a task; set them with
params = { name = value }. All keys: docs/reference/clusters.md."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

Force = Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")]


def new_module(
    name: Annotated[str, typer.Argument(help="Its task_name, such as find_weather.")],
    to: Annotated[Path, typer.Option(help="The folder of your Modules.")] = Path("my-modules"),
    reads: Annotated[
        list[str] | None, typer.Option(help="A kind that it reads; repeatable.")
    ] = None,
    makes: Annotated[str, typer.Option(help="The kind that it makes.")] = "Reply",
) -> None:
    """Write a Module that works, and a test that it passes: python -m pytest FOLDER."""
    file, test = to / f"{name}.py", to / f"test_{name}.py"
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or is_test(file):
        raise InvalidModule(
            f"A Module cannot be named {name[:80]!r}: use a to z, 0 to 9 and _, at most 64, "
            "beginning with a letter; names of tests and of Python's keywords are taken."
        )
    kinds = tuple(dict.fromkeys(_kind(each) for each in reads or ["Transcript"]))
    kind = _kind(makes)
    replaced = name in find_modules()
    _write({file: module_text(name, kinds, kind), test: module_test(name, kinds, str(to))})
    typer.echo(f"{file}: a Module that reads {' and '.join(kinds)} and makes {kind}")
    typer.echo(f"{test}: its tests; run them with python -m pytest {to}")
    if replaced:
        typer.echo(f"With --modules {to} it is used in place of the {name} that there was.")


def new_cluster(
    name: Annotated[str, typer.Argument(help="Its name, such as CLUSTER_MINE.")],
    to: Annotated[Path, typer.Option(help="The folder of your Clusters.")] = Path("my-clusters"),
    tasks: Annotated[
        str, typer.Option(help="What it does, in order, separated by commas.")
    ] = "speech2text,quantization_llm,text2speech",
    module_folders: ModuleFolders = None,
) -> None:
    """Write a Cluster that can be run; what does not fit together is an error."""
    asked = [task.strip() for task in tasks.split(",") if task.strip()]
    path = to / f"{name.lower()}.toml"
    described = f"{', '.join(asked)}."
    budget = (voice_to_voice(BUDGET_S),)
    cluster = make_cluster(name, _components(asked), description=described, budget=budget)
    require_speech(make_plan(cluster, find_registry(module_folders)))
    _write({path: to_toml(cluster, NOTE)})
    typer.echo(f"{path}: {name}; run it with --clusters {to} --cluster {name}")


def import_clusters(
    file: Annotated[Path, typer.Argument(help="A Python file with CLUSTERS = {NAME: DICT}.")],
    to: Annotated[Path, typer.Option(help="The folder of your Clusters.")] = Path("my-clusters"),
    force: Force = False,
) -> None:
    """Write the Clusters that Python dicts declare as TOML, one file each.

    The Python file is read as data; nothing in it is run.
    """
    found = read_declarations(file)
    files: dict[Path, str] = {}
    for cluster in found.clusters:
        path = to / f"{cluster.name.lower()}.toml"
        if path in files:
            raise OutputFailed(f"{path} would hold two Clusters; rename {cluster.name}.")
        files[path] = to_toml(cluster, f"Imported from {file.name}.")
    _write(files, force)
    warn(found.warnings)
    for path, cluster in zip(files, found.clusters, strict=True):
        typer.echo(f"{path}: {cluster.name}")


def _components(tasks: list[str]) -> list[Component]:
    """One Component a task; the second of a task is called task_2."""
    names = [
        task if tasks[:place].count(task) == 0 else f"{task}_{tasks[:place].count(task) + 1}"
        for place, task in enumerate(tasks)
    ]
    return [Component(name=n, task_name=t) for n, t in zip(names, tasks, strict=True)]


def _kind(text: str) -> str:
    if text not in KINDS:
        near = difflib.get_close_matches(text.capitalize(), KINDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KINDS)}."
        raise InvalidModule(f"There is no kind {text[:80]!r}; {hint}")
    return text


def _write(files: Mapping[Path, str], force: bool = False) -> None:
    """Write all of `files` or, where one is there already, none. Raises OutputFailed."""
    for path in files:
        if path.exists() and not force:
            raise OutputFailed(f"{path} is there already; choose another name or folder.")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise OutputFailed(f"{path} cannot be written: {error.strerror}.") from error
