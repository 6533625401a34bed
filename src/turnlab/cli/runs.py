"""`turnlab runs`: the Runs that were recorded."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnlab.bench.reporting.pinned import resume_command
from turnlab.cli.session import open_queries
from turnlab.reports.words import clean, so_many
from turnlab.runs import Run, RunStatus

runs = typer.Typer(no_args_is_help=True, help="The Runs that were recorded.")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Its id or name, or `last`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@runs.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """List the newest Runs."""
    found = open_runs().list_runs(limit)
    console = Console(highlight=False)
    for run, done in found:
        if as_json:
            typer.echo(json.dumps(_row(run, done)))
            continue
        # The id on a line of its own, whole at any width, since it is there to be copied.
        console.print(Text(f"{run.id}  {clean(run.name)}".rstrip(), style="bold"), soft_wrap=True)
        when = run.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        state = "" if run.status is RunStatus.COMPLETED else ", not complete"
        clusters = ", ".join(run.pins.get("clusters", {}))
        named = clean(f"{run.dataset}: {clusters}")
        console.print(Text(f"  {when}  {done} of {so_many(run.turns, 'turn')}{state}  {named}"))


@runs.command("show")
def show_run(run_id: RunId, as_json: AsJson = False) -> None:
    """Show a Run: what was asked for, what it is pinned to, how far it came."""
    keeper = open_runs()
    run = keeper.get_run(run_id)
    counts = keeper.count_tracks(run.id)
    done = sum(each.count for each in counts if each.status in ("completed", "failed"))
    if as_json:
        tracks = [asdict(each) for each in counts]
        typer.echo(json.dumps({**_row(run, done), "pins": run.pins, "tracks": tracks}))
        return
    console = Console(highlight=False)
    console.print(Text(run.id, style="bold"), soft_wrap=True)
    for key, value in _facts(run, done).items():
        console.print(Text(f"  {key:<12}{clean(value)}"), soft_wrap=True)
    table = Table("Cluster", "Mode", "Status", "Tracks", box=None, pad_edge=False)
    for each in counts:
        table.add_row(each.cluster, each.mode, each.status, str(each.count))
    console.print(table)
    if run.status is not RunStatus.COMPLETED:
        line = f"Go on with: {clean(resume_command(run))}"
        console.print(line, markup=False, soft_wrap=True)


@runs.command("delete")
def delete_run(
    run_id: str,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a Run, by its id, with its Tracks, their texts, sounds and pictures."""
    tally = open_runs().delete_run(run_id, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(tally.as_json()))
        return
    done = "would delete" if dry_run else "deleted"
    typer.echo(f"{done} {run_id}: {tally.tracks} Tracks, {tally.files} files")
    for each in tally.failed:
        typer.echo(f"could not be deleted: {each}")


def open_runs() -> Any:
    """The module that keeps Runs. Raises RecordingFailed."""
    open_queries()
    # Only now: the models cannot be imported before the settings are known.
    from turnlab.server import runs

    return runs


def _row(run: Run, done: int) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "status": str(run.status),
        "created_at": run.created_at.isoformat(),
        "dataset": run.dataset,
        "dataset_hash": run.dataset_hash,
        "turns": run.turns,
        "done": done,
        "asked": run.asked,
    }


def _facts(run: Run, done: int) -> dict[str, str]:
    asked, host, git = run.asked, run.pins.get("host", {}), run.pins.get("git")
    revision = f"{git['revision'][:12]}{', files changed' if git['dirty'] else ''}" if git else ""
    facts = {
        "name": run.name,
        "begun": run.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        "status": f"{run.status}, {done} of {so_many(run.turns, 'turn')}",
        "dataset": f"{asked.get('dataset', run.dataset)} ({run.dataset_hash[:12]})",
        "modes": ", ".join(asked.get("modes", ())),
        "repeat": str(asked.get("repeat", "")),
        "at once": f"{asked.get('concurrency', '')}, {asked.get('pace', '')}",
        "budget": "; ".join(asked.get("budget", ())),
        "overrides": json.dumps(asked["overrides"]) if asked.get("overrides") else "",
        "hardware": f"{host.get('processor', '')}, {host.get('cores', '')} cores",
        "turnlab": str(run.pins.get("turnlab", "")),
        "git": revision,
    }
    return {key: value for key, value in facts.items() if value}
