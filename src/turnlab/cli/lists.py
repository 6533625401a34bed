"""`turnlab clusters` and `turnlab modules`: what there is, and whether it can run here."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.errors import PydanticInvalidForJsonSchema
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from turnlab.bench.verdicts.budget import check_limit
from turnlab.cli.new import import_clusters, new_cluster, new_module
from turnlab.cli.problems import missing_of, tell_problems, warn
from turnlab.cli.session import ClusterFolders, ModuleFolders, find_parts, find_registry
from turnlab.clusters import Catalogue, Cluster, Component, load_cluster, make_plan
from turnlab.clusters.catalogue import Unusable
from turnlab.clusters.plan import lacking
from turnlab.errors import InvalidBudget, InvalidCluster, InvalidParams
from turnlab.modules.base import Module
from turnlab.modules.registry import Registry
from turnlab.reports.words import clean

clusters = typer.Typer(no_args_is_help=True, help="The pipelines that there are.")
modules = typer.Typer(no_args_is_help=True, help="The code that performs the tasks.")
clusters.command("new")(new_cluster)
clusters.command("import")(import_clusters)
modules.command("new")(new_module)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@clusters.command("list")
def list_clusters(
    as_json: AsJson = False, folders: ClusterFolders = None, module_folders: ModuleFolders = None
) -> None:
    """List the Clusters and say of each whether it can run here, or why not."""
    parts = find_parts(folders, module_folders)
    rows = [(cluster, missing_of(cluster, parts.registry)) for cluster in parts.catalogue]
    if as_json:
        found = [
            {**_cluster_row(c, parts.registry), **_runs(missing), "error": None}
            for c, missing in rows
        ]
        typer.echo(json.dumps(found + _unusable_rows(parts.catalogue)))
    else:
        console = Console(highlight=False)
        for cluster, missing in rows:
            console.print(_heading(cluster.name, "cannot run here" if missing else "runs here"))
            tasks = " > ".join(c.task_name or "" for c in cluster.components if c.is_task)
            console.print(Padding(Text(tasks), (0, 0, 0, 2)))
            _print_points(console, missing)
        for each in parts.catalogue.problems:
            console.print(_heading(each.name or each.source, "cannot be used"))
            _print_points(console, [each.error.message])
    warn(f"{error.message} It is left out." for error in parts.registry.problems)


def _heading(name: str, state: str) -> Text:
    return Text.assemble((clean(name), "bold"), ": ", (state, "green" if "runs" in state else ""))


def _print_points(console: Console, points: list[str]) -> None:
    grid = Table.grid(padding=(0, 1))
    for point in points:
        grid.add_row("  -", Text(clean(point)))
    if points:
        console.print(grid)


def _runs(missing: list[str]) -> dict[str, Any]:
    return {"runnable": not missing, "missing": missing, "reason": "; ".join(missing) or None}


def _unusable_rows(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Files that declare no Cluster that could be used, as rows that say so."""
    return [_unusable_row(each) for each in catalogue.problems]


def _unusable_row(problem: Unusable) -> dict[str, Any]:
    message = problem.error.message
    return {
        "name": problem.name,
        "source": Path(problem.source).name,
        **_runs([message]),
        "error": {"code": problem.error.code, "message": message},
    }


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
    missing = missing_of(cluster, parts.registry)
    tell_problems(parts)
    if as_json:
        typer.echo(json.dumps({**_cluster_row(cluster, parts.registry), **_runs(missing)}))
        return
    console = Console(highlight=False)
    console.print(Text.assemble((cluster.name, "bold"), "\n", clean(cluster.description)))
    budget = ", ".join(limit.text for limit in cluster.budget) or "none"
    console.print(Text(clean(f"budget {budget}; hash {cluster.content_hash[:12]}")))
    console.print(_components(cluster, parts.registry))
    if missing:
        console.print(Text("cannot run here:", style="yellow"))
        _print_points(console, missing)


@clusters.command("check")
def check_cluster(file: Path, module_folders: ModuleFolders = None) -> None:
    """Check a Cluster file; an error names file, component and remedy, with exit code 1."""
    cluster = load_cluster(file)
    plan = make_plan(cluster, find_registry(module_folders))
    try:
        for limit in cluster.budget:
            check_limit(limit, [step.name for step in plan.steps])
    except InvalidBudget as error:
        raise InvalidCluster(f"{file}: budget: {error.message}") from error
    typer.echo(f"{file}: {cluster.name} is well declared ({len(plan.steps)} tasks).")


@modules.command("list")
def list_modules(as_json: AsJson = False, module_folders: ModuleFolders = None) -> None:
    """List the Modules: what each reads and makes."""
    registry = find_registry(module_folders)
    if as_json:
        found = [{**describe_module(module), "error": None} for module in registry]
        errors = [{"code": e.code, "message": e.message} for e in registry.problems]
        typer.echo(json.dumps(found + [{"task_name": None, "error": error} for error in errors]))
        return
    console = Console(highlight=False)
    for module in registry:
        row = describe_module(module)
        missing = row["missing"]
        state = "cannot run here as it is" if missing else "runs here"
        console.print(_heading(module.task_name, state))
        reads = ", ".join(row["consumes"] + [f"({kind})" for kind in row["uses"]])
        wiring = Text(f"{reads} > {row['produces']}", overflow="fold")
        console.print(Padding(wiring, (0, 0, 0, 2)))
        _print_points(console, missing)
    warn(f"{error.message} It is left out." for error in registry.problems)


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


def _cluster_row(cluster: Cluster, registry: Registry) -> dict[str, Any]:
    return {
        "name": cluster.name,
        "description": cluster.description,
        "budget_s": cluster.budget_s,
        "budget": [limit.text for limit in cluster.budget],
        "hash": cluster.content_hash,
        "source": Path(cluster.source).name,
        "components": [
            {
                "name": c.name,
                "component_type": str(c.component_type),
                "task_name": c.task_name,
                "params": _params(c, registry),
                "after": list(c.after),
            }
            for c in cluster.components
        ],
    }


def _params(component: Component, registry: Registry) -> dict[str, Any]:
    """What its file says; secrets masked, and all of it where its Module is not known."""
    usable = {module.task_name: module for module in registry}
    module = usable.get(component.task_name or "")
    if module is None:
        return {name: "?" for name in component.params}
    return module.shown(component.params)


def _components(cluster: Cluster, registry: Registry) -> Table:
    table = Table("Component", "Type", "Reads", "Makes", "Params", box=None, pad_edge=False)
    usable = {module.task_name: module for module in registry}
    for component in cluster.components:
        known = usable.get(component.task_name or "")
        reads = ", ".join(kind.kind for kind in known.consumes) if known else ""
        makes = known.produces.kind if known else ""
        params = json.dumps(_params(component, registry)) if component.params else ""
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
        "parameters": _parameters(module),
        "missing": _missing(module),
        "results": list(module.results.items()),
        "measures": list(module.measures.items()),
        "raises": [(error.code, _first_line(error)) for error in module.raises],
        "cost": module.cost,
    }


def _first_line(documented: type) -> str:
    return (inspect.getdoc(documented) or "").splitlines()[0]


def _missing(module: type[Module]) -> list[str]:
    """What it lacks with its default parameters, whatever a user's Module does when asked."""
    try:
        return lacking(module, module.check_params({}))
    except InvalidParams as error:
        return [error.message]


def _parameters(module: type[Module]) -> dict[str, Any]:
    try:
        return dict(module.Params.model_json_schema().get("properties", {}))
    except PydanticInvalidForJsonSchema as error:
        return {name: {"description": error.message} for name in module.Params.model_fields}


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(each) for each in field["anyOf"])
    if "enum" in field:
        return " or ".join(map(str, field["enum"]))
    return str(field.get("type", ""))
