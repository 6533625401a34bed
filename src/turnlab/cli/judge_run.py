"""What `turnlab judge` does: finds the replies to judge, has them judged, keeps the scores."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.text import Text

from turnlab.bench.datasets.dataset import Dataset, DatasetTurn
from turnlab.bench.judging.human_scores import HumanScore, read_scores_file, scores_of_manifest
from turnlab.bench.judging.model import Judge, JudgeParams, judge_all, require_judge
from turnlab.bench.judging.report import Counts, Result, agreements, figures
from turnlab.bench.judging.rubric import Rubric
from turnlab.bench.judging.scores import Judged, RecordedReply, ToJudge, to_judge
from turnlab.cli import exit_codes
from turnlab.cli.session import open_queries
from turnlab.errors import InvalidDataset, NothingMeasured, RunsDiffer, UnknownCluster
from turnlab.openai_api import Clients, Provider
from turnlab.prices import Usage
from turnlab.runs import Run


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `turnlab judge` was asked for."""

    run_id: str
    """Its id or name, or `last`; its id once it is prepared."""
    rubric: Rubric
    params: JudgeParams
    clusters: tuple[str, ...] | None
    limit: int | None
    concurrency: int
    human: Path | None
    dataset: Path | None
    without_dataset: bool
    again: bool


@dataclass(kw_only=True)
class Work:
    """The replies of a Run, and how far their judging has come."""

    request: Request
    annotations: ModuleType
    """The module turnlab.server.annotations, which needs the settings first."""
    replies: list[RecordedReply]
    turns: Mapping[str, DatasetTurn]
    wanted: list[RecordedReply]
    of_other_replies: int = 0
    counts: Counts = field(default_factory=Counts)
    cost_usd: float | None = 0.0

    def result(self) -> Result:
        """What is known now, of this judge and of people."""
        request = self.request
        scores = self.annotations.judge_scores(
            [request.run_id], request.params.model, request.rubric.hash
        )
        people = self.annotations.human_scores(request.run_id)
        return Result(
            run_id=request.run_id,
            rubric=request.rubric,
            model=request.params.model,
            counts=self.counts,
            cost_usd=self.cost_usd,
            figures=figures(request.rubric, scores, self.replies),
            agreements=agreements(request.rubric, scores, people, self.replies),
            of_other_replies=self.of_other_replies,
        )


def prepare(request: Request) -> Work:
    """Find what is to be judged, and keep the scores of people. Nothing is sent yet.

    Raises UnknownRun, UnknownCluster, InvalidDataset, RunsDiffer, UnreadableFile, and
    NothingMeasured where no turn completed.
    """
    open_queries()
    # Only now: the models cannot be imported before the settings are known.
    from turnlab.server import annotations, runs

    run = runs.get_run(request.run_id)
    request = replace(request, run_id=run.id)
    _check_clusters(run, request.clusters or ())
    turns = {} if request.without_dataset else _turns(run, request.dataset)
    replies = annotations.replies(run.id, request.clusters)
    if not replies:
        raise NothingMeasured(f"{run.id} has no completed turn, so there is no reply to judge.")
    rubric = request.rubric
    of_manifest = scores_of_manifest(rubric, replies, turns)
    scores = [*of_manifest.scores]
    if request.human is not None:
        scores += read_scores_file(request.human, rubric, replies)
    annotations.keep([_by_person(annotations, each) for each in scores])
    done: set[str] = set()
    if not request.again:
        names = [each.name for each in rubric.criteria]
        done = annotations.judged_by(run.id, request.params.model, rubric.hash, names)
    told = [each for each in replies if each.reply.strip()]
    work = Work(
        request=request,
        annotations=annotations,
        replies=replies,
        turns=turns,
        wanted=[each for each in told if each.track_id not in done],
        of_other_replies=of_manifest.of_other_replies,
    )
    work.counts.without_text = len(replies) - len(told)
    work.counts.judged_before = len(told) - len(work.wanted)
    return work


async def judge_run(work: Work, console: Console) -> int:
    """Judge what is wanted and keep each score as it comes; the exit code.

    Raises MissingKey, MissingPackage, InvalidParams before anything is sent, and what a provider
    fails with for every turn alike.
    """
    request = work.request
    if request.limit == 0 or not work.wanted:
        work.counts.left = len(work.wanted)
        return 0
    require_judge(request.params)
    clients = await asyncio.to_thread(Clients, request.params)
    try:
        await _judge(work, clients.of(request.params), console)
    except asyncio.CancelledError:
        console.print(
            f"interrupted: {work.counts.judged} replies were judged and are kept; the same "
            "command goes on",
            soft_wrap=True,
        )
        return exit_codes.INTERRUPTED
    finally:
        await asyncio.to_thread(clients.close)
    return 0


async def _judge(work: Work, provider: Provider, console: Console) -> None:
    from turnlab.server.database import Database

    request, counts = work.request, work.counts
    database = Database(threads=1)
    try:
        if not provider.server.is_here:
            refused = await database.call(
                work.annotations.refusals, [each.track_id for each in work.wanted]
            )
            work.wanted = [each for each in work.wanted if each.track_id not in refused]
            counts.refused = len(refused)
        chosen = work.wanted[: request.limit]
        counts.left = len(work.wanted) - len(chosen)
        judge = Judge(request.rubric, request.params, provider)
        judged = judge_all(judge, [_shown(work, each) for each in chosen], request.concurrency)
        with console.status("asking the judge") as status:
            async with aclosing(judged) as answers:
                async for answer in answers:
                    await database.call(work.annotations.keep, _by_model(work, answer))
                    counts.add(answer)
                    work.cost_usd = _sum(work.cost_usd, provider, request.params.model, answer)
                    done = counts.judged + len(counts.not_judged)
                    status.update(Text(f"{done} of {len(chosen)} replies judged"))
    finally:
        database.close()


def _check_clusters(run: Run, names: Collection[str]) -> None:
    known = run.asked.get("clusters", ())
    for name in names:
        if name not in known:
            raise UnknownCluster(
                f"{name[:128]!r} is no Cluster of {run.id}; it has {', '.join(known)}."
            )


def _turns(run: Run, moved_to: Path | None) -> dict[str, DatasetTurn]:
    """The turns of the Run's dataset by id. Raises InvalidDataset, RunsDiffer."""
    from turnlab.server.measured import same_dataset

    dataset = same_dataset(run) if moved_to is None else Dataset.load(moved_to)
    if isinstance(dataset, str):
        raise InvalidDataset(f"{dataset[:1].upper()}{dataset[1:]}; {_WITHOUT}")
    if dataset.content_hash != run.dataset_hash:
        raise RunsDiffer(f"{moved_to} is not the dataset of {run.id} as it was; {_WITHOUT}")
    return {turn.id: turn for turn in dataset.turns}


_WITHOUT = (
    "say where it is as it was with --dataset, or judge without references: --without-dataset."
)


def _shown(work: Work, reply: RecordedReply) -> ToJudge:
    turn = work.turns.get(reply.turn_id)
    return to_judge(reply, turn.transcript if turn else None, turn.reply if turn else None)


def _by_person(annotations: ModuleType, score: HumanScore) -> Any:
    return annotations.Annotation(
        track_id=score.track_id,
        author=score.person,
        is_model=False,
        criterion=score.criterion,
        score=score.score,
    )


def _by_model(work: Work, judged: Judged) -> list[Any]:
    return [
        work.annotations.Annotation(
            track_id=judged.track_id,
            author=work.request.params.model,
            is_model=True,
            criterion=criterion,
            score=score.score,
            comment=score.reason,
            rubric_hash=work.request.rubric.hash,
        )
        for criterion, score in judged.scores.items()
    ]


def _sum(total: float | None, provider: Provider, model: str, judged: Judged) -> float | None:
    """The cost so far; None once one is unknown. A request that was refused costs nothing."""
    if judged.failure is not None and judged.usage == Usage():
        return total
    cost = provider.cost_usd(model, judged.usage)
    return None if total is None or cost is None else total + cost
