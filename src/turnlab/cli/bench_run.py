"""Makes a Run ready, begun or gone on with, and replays what is left of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from turnlab.bench.datasets.dataset import Dataset, DatasetTurn
from turnlab.bench.replay.asked import Asked, Overrides
from turnlab.bench.replay.harness import Assignment, Harness
from turnlab.bench.replay.pins import Differences, differences, make_pins
from turnlab.bench.replay.recordings import Recordings
from turnlab.bench.replay.schedule import Job, schedule, warm_ups
from turnlab.cli.bench_checks import checked, limits_of
from turnlab.cli.bench_progress import BenchProgress
from turnlab.cli.runs import open_runs
from turnlab.cli.session import open_queries, open_runner, run_to_the_end
from turnlab.clusters import Plan
from turnlab.conversations import Conversation
from turnlab.errors import RunsDiffer, UnknownConversation
from turnlab.reports.words import so_many
from turnlab.runs import Run, new_run_id

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A Run that is kept, and all that is needed to run its turns."""

    run: Run
    asked: Asked
    plans: Mapping[str, Plan]
    dataset: Dataset
    turns: Sequence[DatasetTurn]
    """Those of the dataset that were asked for."""
    jobs: Sequence[Job]
    """All of the Run, those that have ended too."""
    recordings: Recordings


def begun(asked: Asked, name: str, console: Console) -> Bench:
    """Check all that can be wrong, then begin a Run.

    Raises InvalidBudget, UnknownCluster, InvalidParams, ClusterNotRunnable, MissingModel,
    InvalidDataset, RecordingFailed.
    """
    plans, dataset, turns = checked(asked)
    budgets = {name: limits_of(asked, plans, name) for name in plans}
    jobs = _jobs(asked, turns)
    recordings = _measured(turns, console)
    run = Run(
        id=new_run_id(),
        created_at=datetime.now(UTC),
        name=name,
        dataset=dataset.name,
        dataset_hash=dataset.content_hash,
        turns=len(jobs),
        asked=asked.as_json(plans),
        pins=make_pins(plans, budgets),
    )
    open_runs().begin_run(run)
    console.print(f"Run {run.id}: {so_many(len(jobs), 'turn')} of {dataset.name}", markup=False)
    return Bench(
        run=run,
        asked=asked,
        plans=plans,
        dataset=dataset,
        turns=turns,
        jobs=jobs,
        recordings=recordings,
    )


def resumed(
    run_id: str,
    overrides: Overrides,
    console: Console,
    *,
    cluster_folders: Sequence[Path] = (),
    module_folders: Sequence[Path] = (),
) -> Bench:
    """A Run that was interrupted, if everything is as it was.

    Raises UnknownRun, InvalidRequest where folders are not given again, RunsDiffer that names what
    has changed, and as `begun`.
    """
    run: Run = open_runs().get_run(run_id)
    asked = Asked.from_json(
        run.asked, overrides, cluster_folders=cluster_folders, module_folders=module_folders
    )
    plans, dataset, turns = checked(asked)
    jobs = _jobs(asked, turns)
    changed = differences(run.pins, make_pins(plans))
    _require_same(run, dataset, jobs, changed)
    for each in changed.told:
        console.print(f"note: {each}", markup=False, soft_wrap=True)
    return Bench(
        run=run,
        asked=asked,
        plans=plans,
        dataset=dataset,
        turns=turns,
        jobs=jobs,
        recordings=_measured(turns, console),
    )


def replay(ready: Bench, console: Console) -> int:
    """Run what has not ended. The exit code: 0, or 130 where it was interrupted.

    Raises RecordingFailed; RunsDiffer where another process runs turns of it.
    """
    runs = open_runs()
    with runs.holding(ready.run.id):
        runs.close_lost(ready.run.id)
        ended = runs.ended_turns(ready.run.id)
        left = [job for job in ready.jobs if job.key not in ended]
        known = _known_conversations(ready, left)
        code = run_to_the_end(_run(ready, left, known, console)) if left else 0
        if code == 0:
            runs.end_run(ready.run.id)
    return code


async def _run(
    ready: Bench, left: Sequence[Job], known: dict[str, Conversation], console: Console
) -> int:
    asked = ready.asked
    assignment = Assignment(
        run_id=ready.run.id,
        plans=ready.plans,
        jobs=left,
        warm_ups=warm_ups(ready.turns, asked.clusters, asked.modes, asked.warm_up),
        pace=asked.pace,
        at_once=asked.concurrency,
        conversations=known,
    )
    with BenchProgress(console, ready.jobs, left, asked.concurrency) as progress:
        async with open_runner() as (runner, executor):
            await Harness(runner, executor, ready.recordings, assignment, progress).run()
    return 0


def _known_conversations(ready: Bench, left: Sequence[Job]) -> dict[str, Conversation]:
    """Those that go on, with the exchanges that they had before."""
    queries = open_queries()
    known: dict[str, Conversation] = {}
    for found in {job.conversation_id(ready.run.id) for job in left} - {None}:
        try:
            known[str(found)] = queries.get_conversation(found)
        except UnknownConversation:
            continue  # none of its turns had begun
    return known


def _require_same(run: Run, dataset: Dataset, jobs: Sequence[Job], changed: Differences) -> None:
    refused = list(changed.refused)
    if dataset.content_hash != run.dataset_hash:
        refused.insert(0, f"the dataset in {dataset.folder} has changed")
    elif len(jobs) != run.turns:
        refused.insert(0, f"the tags now choose {so_many(len(jobs), 'turn')}, not {run.turns}")
    if refused:
        more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise RunsDiffer(
            f"{run.id} cannot go on, since its other turns would not compare: "
            f"{'; '.join(refused[:_SHOWN])}{more}. Undo that, or begin a new Run."
        )


def _jobs(asked: Asked, turns: Sequence[DatasetTurn]) -> list[Job]:
    return schedule(turns, asked.clusters, asked.modes, asked.repeat, at_once=asked.concurrency)


def _measured(turns: Sequence[DatasetTurn], console: Console) -> Recordings:
    recordings = Recordings()
    with console.status("measuring the recordings") as status:

        def told(done: int) -> None:
            status.update(f"measuring the recordings: {done} of {len(turns)}")

        recordings.measure(turns, told)
    return recordings
