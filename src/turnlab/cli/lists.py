"""`turnlab clusters` and `turnlab modules`: what there is, and whether it can run here."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnlab.cli.session import ClusterFolders, ModuleFolders, find_parts, find_registry
from turnlab.clusters import Cluster, load_cluster, make_plan
from turnlab.clusters.plan import problem_of
from turnlab.errors import InvalidParams
from turnlab.modules.base import Module
from turnlab.modules.registry import Registry
from turnlab.reports.words import clean

clusters = typer.Typer(no_args_is_help=True, help="The pipelines that there are.")
modules = typer.Typer(no_args_is_help=True, help="The code that performs the tasks.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@clusters.command("list")
def list_clusters(
    as_json: AsJson = False, folders: ClusterFolders = None, module_folders: ModuleFolders = None
) -> None:
    """List the Clusters and say of each whether it can run here, or why not."""
    parts = find_parts(folders, module_folders)
    rows = [(cluster, problem_of(cluster, parts.registry)) for cluster in parts.catalogue]
    if as_json:
        listed = [
            {**_cluster_row(c), "runnable": problem is None, "reason": problem and problem.message}
            for c, problem in rows
        ]
        typer.echo(json.dumps(listed))
        return
    table = Table("Cluster", "Runs here", box=None, pad_edge=False)
    for cluster, problem in rows:
        tasks = " > ".join(c.task_name or "" for c in cluster.components if c.is_task)
        name = Text.assemble((cluster.name, "bold"), "\n", tasks)
        table.add_row(name, Text("yes" if problem is None else clean(problem.message)))
    Console(highlight=False).print(table)


@clusters.command("show")
def show_cluster(
    name: str,
    as_json: AsJson = False,
    folders: ClusterFolders = None,
    module_folders: ModuleFolders = None,
) -> None:
    """Show a Cluster: its Components, what each reads and makes, its parameters."""
    parts = find_parts(folders, module_folders)
    cluster = parts.catalogue.get(name)
    problem = problem_of(cluster, parts.registry)
    if as_json:
        row = {**_cluster_row(cluster), "runnable": problem is None}
        typer.echo(json.dumps({**row, "reason": problem and problem.message}))
        return
    console = Console(highlight=False)
    console.print(Text.assemble((cluster.name, "bold"), "\n", clean(cluster.description)))
    console.print(f"budget {cluster.budget_s or '-'} s, hash {cluster.content_hash[:12]}")
    console.print(_components(cluster, parts.registry))
    if problem is not None:
        console.print(Text(f"not runnable here: {clean(problem.message)}", style="yellow"))


@clusters.command("check")
def check_cluster(file: Path, module_folders: ModuleFolders = None) -> None:
    """Check a Cluster file; an error names file, component and remedy, with exit code 1."""
    cluster = load_cluster(file)
    plan = make_plan(cluster, find_registry(module_folders))
    typer.echo(f"{file}: {cluster.name} is well declared ({len(plan.steps)} tasks).")


@modules.command("list")
def list_modules(as_json: AsJson = False, module_folders: ModuleFolders = None) -> None:
    """List the Modules: what each reads and makes."""
    registry = find_registry(module_folders)
    if as_json:
        typer.echo(json.dumps([describe_module(module) for module in registry]))
        return
    table = Table("Task", "Reads", "Makes", "Runs here", box=None, pad_edge=False)
    for module in registry:
        row = describe_module(module)
        reads = ", ".join(row["consumes"] + [f"({kind})" for kind in row["uses"]])
        missing = Text(clean("\n".join(row["missing"]) or "yes"))
        table.add_row(Text(module.task_name, style="bold"), reads, row["produces"], missing)
    Console(highlight=False).print(table)


@modules.command("show")
def show_module(
    task_name: str, as_json: AsJson = False, module_folders: ModuleFolders = None
) -> None:
    """Show a Module: what it does, and each parameter with its default."""
    module = find_registry(module_folders).get(task_name)
    row = describe_module(module)
    if as_json:
        typer.echo(json.dumps(row))
        return
    console = Console(highlight=False)
    heading = Text.assemble((task_name, "bold"), f" {row['version']}\n", clean(row["description"]))
    console.print(heading)
    table = Table("Parameter", "Type", "Default", "", box=None, pad_edge=False)
    for name, field in row["parameters"].items():
        default = json.dumps(field.get("default"))
        cells = (name, _type(field), default, field.get("description", ""))
        table.add_row(*(Text(clean(cell)) for cell in cells))
    console.print(table)


def _cluster_row(cluster: Cluster) -> dict[str, Any]:
    return {
        "name": cluster.name,
        "description": cluster.description,
        "budget_s": cluster.budget_s,
        "hash": cluster.content_hash,
        "source": Path(cluster.source).name,
        "components": [
            {
                "name": c.name,
                "component_type": str(c.component_type),
                "task_name": c.task_name,
                "params": dict(c.params),
                "after": list(c.after),
            }
            for c in cluster.components
        ],
    }


def _components(cluster: Cluster, registry: Registry) -> Table:
    table = Table("Component", "Type", "Reads", "Makes", "Params", box=None, pad_edge=False)
    for component in cluster.components:
        task = component.task_name
        known = registry.get(task) if task and task in registry else None
        reads = ", ".join(kind.kind for kind in known.consumes) if known else ""
        makes = known.produces.kind if known else ""
        params = json.dumps(dict(component.params)) if component.params else ""
        cells = (component.name, str(component.component_type), reads, makes, params)
        table.add_row(*(Text(clean(cell)) for cell in cells))
    return table


def describe_module(module: type[Module]) -> dict[str, Any]:
    """The Module as JSON: kinds, parameters as JSON schema, what is missing here."""
    return {
        "task_name": module.task_name,
        "version": module.version,
        "description": (module.__doc__ or "").strip(),
        "consumes": [kind.kind for kind in module.consumes],
        "uses": [kind.kind for kind in module.uses],
        "produces": module.produces.kind,
        "parameters": module.Params.model_json_schema().get("properties", {}),
        "missing": _missing(module),
        "results": list(module.results.items()),
        "measures": list(module.measures.items()),
        "raises": [(error.code, _first_line(error)) for error in module.raises],
        "cost": module.cost,
    }


def _first_line(documented: type) -> str:
    return (inspect.getdoc(documented) or "").splitlines()[0]


def _missing(module: type[Module]) -> list[str]:
    try:
        return module.missing(module.check_params({}))
    except InvalidParams as error:
        return [error.message]


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(each) for each in field["anyOf"])
    if "enum" in field:
        return " or ".join(map(str, field["enum"]))
    return str(field.get("type", ""))
