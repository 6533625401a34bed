"""`turnlab judge`: a language model scores the replies of a Run by a rubric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from turnlab.bench.judging.model import check_judge
from turnlab.bench.judging.rubric import load_rubric
from turnlab.cli import exit_codes
from turnlab.cli.judge_run import Request, judge_run, prepare
from turnlab.cli.judge_show import print_result
from turnlab.cli.session import run_to_the_end


def judge(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id or name of the Run, or `last`.")],
    rubric: Annotated[Path, typer.Option(help="What to judge by, a TOML file.")],
    model: Annotated[str, typer.Option(help="Name of the model that judges.")],
    base_url: Annotated[
        str | None,
        typer.Option(
            help="Where it is, such as http://127.0.0.1:8000/v1; OPENAI_BASE_URL by default, else "
            "OpenAI."
        ),
    ] = None,
    key_variable: Annotated[
        str | None,
        typer.Option(
            help="Environment variable that holds the key for it; OPENAI_API_KEY by default. "
            "TURNLAB_KEYS says which may go to a server that is not OpenAI's."
        ),
    ] = None,
    clusters: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only replies of these Clusters.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help="Judge at most so many replies now; 0: only show what there is."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=64, help="How many are judged at once.")
    ] = 4,
    human: Annotated[
        Path | None,
        typer.Option(help="Scores of people, CSV: track_id,person,criterion,score."),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Folder of the Run's dataset, if it has moved.")
    ] = None,
    without_dataset: Annotated[
        bool, typer.Option("--without-dataset", help="Judge without references.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Judge anew what this model has judged before.")
    ] = False,
    max_tokens: Annotated[
        int, typer.Option(min=16, max=1_048_576, help="Most tokens of an answer.")
    ] = 2048,
    timeout: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds to wait for the model's next word.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Have a language model score the replies of a Run's completed turns by a rubric.

    What was judged is kept, and is not judged again by the same model and rubric. What users said
    who refused that it be kept is sent to no other machine.

    Exit code 0: all that was asked for is judged; 1: failed, or some replies could not be judged;
    130: interrupted, with what was judged kept.
    """
    request = Request(
        run_id=run,
        rubric=load_rubric(rubric),
        params=check_judge(
            model=model,
            base_url=base_url,
            key_variable=key_variable,
            max_tokens=max_tokens,
            request_timeout_s=timeout,
        ),
        clusters=None if clusters is None else _listed(clusters),
        limit=limit,
        concurrency=concurrency,
        human=human,
        dataset=dataset,
        without_dataset=without_dataset,
        again=again,
    )
    work = prepare(request)
    code = run_to_the_end(judge_run(work, Console(stderr=True, highlight=False)))
    if code == exit_codes.INTERRUPTED:
        return code
    result = work.result()
    if as_json:
        typer.echo(json.dumps(result.as_json(), ensure_ascii=False))
    else:
        print_result(result, Console(highlight=False))
    return 1 if result.counts.not_judged else code


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
