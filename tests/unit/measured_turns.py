"""Turns with exactly the values that a test gives them, as they are measured of one subject."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from turnlab.bench.measuring.measures import ComponentMeasures, Measured, Subject, Values
from turnlab.profiles import SpanKind

RUN = "R-20260101T000000-aaaaaa"
OTHER_RUN = "R-20260102T000000-bbbbbb"

Value = float | None
"""None stands for a turn that failed."""


def turns_of(
    latencies_s: Sequence[Value],
    *,
    cluster: str = "A",
    mode: str = "streamed",
    run_id: str = RUN,
    repeats: int = 1,
    cancelled: int = 0,
    parts: Mapping[tuple[str, SpanKind], Sequence[float] | Values] | None = None,
    error: tuple[str, str] = ("llm", "module_timeout"),
    **columns: Sequence[float] | Values | float,
) -> Measured:
    """One turn a latency, `repeats` of each turn of the dataset in a row.

    `cancelled` more follow that were cancelled. `parts` are the spans of each turn; `columns`
    other measurements, one a turn or one for all.
    """
    wanted = [*latencies_s, *([None] * cancelled)]
    count, heard = len(wanted), np.array([each is not None for each in wanted], dtype=np.bool_)
    values = np.array([math.nan if each is None else each for each in wanted])
    failed = len(latencies_s) - int(heard.sum())
    statuses = ["completed" if each else "failed" for each in heard[: len(latencies_s)]]

    def column(given: Sequence[float] | Values | float) -> Values:
        alike = np.isscalar(given)
        own = np.full(count, given) if alike else np.resize(np.array(given, float), count)
        return np.where(heard, own, math.nan)

    stages = {key: column(given) for key, given in (parts or {}).items()}
    return Measured(
        subject=Subject(run_id, cluster, mode),
        cluster_hash="0" * 64,
        track_ids=[f"T-{cluster}-{number:032x}" for number in range(count)],
        turn_ids=[f"t{number // repeats}" for number in range(count)],
        repeats=np.arange(count, dtype=np.int32) % repeats + 1,
        statuses=[*statuses, *(["cancelled"] * cancelled)],
        errors=["" if each else error[1] for each in heard],
        counts=heard,
        columns={"voice_to_voice": values, **{key: column(of) for key, of in columns.items()}},
        components={
            name: component(name, stages, count) for name in dict.fromkeys(key[0] for key in stages)
        },
        stages=stages,
        failures=Counter({error: failed} if failed else {}),
    )


PRODUCES = {"speech2text": "Transcript", "emotion_detection": "Emotion"}


def component(
    name: str, stages: Mapping[tuple[str, SpanKind], Values], count: int
) -> ComponentMeasures:
    """Of which nothing is known but its inference, and that it costs nothing."""
    model = stages.get((name, SpanKind.MODEL), np.full(count, math.nan))
    nothing = np.full(count, math.nan)
    return ComponentMeasures(
        task_name=name,
        produces=PRODUCES.get(name, "Reply"),
        model=model,
        transfer=nothing,
        queue=nothing,
        wait=nothing,
        first_output=model / 2,
        total=model,
        cost=np.zeros(count),
        cpu=nothing,
        path=model,
    )
