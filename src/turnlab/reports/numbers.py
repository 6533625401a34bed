"""Statistics over turns. Seconds throughout; only turns that count (see TurnReport.counts)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from turnlab.profiles import Span, SpanKind
from turnlab.reports.turn import TurnReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Of `n` latencies, in seconds."""

    n: int
    median_s: float
    p95_s: float
    min_s: float
    max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one Component's spans of one kind take in a turn; 0 in a turn without them.

    The means of all Stages add up to the mean latency, their mean shares to 1. Medians need
    not add up.
    """

    component: str
    kind: SpanKind
    mean_s: float
    median_s: float
    mean_share: float
    median_share: float


def counted(turns: Iterable[TurnReport]) -> list[TurnReport]:
    """The turns that belong in statistics: completed, with a reply that was heard."""
    return [turn for turn in turns if turn.counts]


def latencies_s(turns: Iterable[TurnReport]) -> list[float]:
    """Voice-to-voice latency of each turn that counts, in seconds."""
    return [t.voice_to_voice_s for t in turns if t.counts and t.voice_to_voice_s is not None]


def summary(values_s: Iterable[float]) -> Summary | None:
    """Median, 95th percentile and range in seconds, or None for no values.

    Percentiles interpolate linearly between the two nearest ranks (NumPy's `linear`, type 7 of
    Hyndman and Fan 1996).
    """
    values = np.fromiter(values_s, dtype=np.float64)
    if not values.size:
        return None
    median_s, p95_s = (float(each) for each in np.percentile(values, [50, 95], method="linear"))
    return Summary(
        n=values.size,
        median_s=median_s,
        p95_s=p95_s,
        min_s=float(values.min()),
        max_s=float(values.max()),
    )


def first_speech_s(turn: TurnReport) -> float | None:
    """When the first Speech of the reply arrived: the latency less the quiet that it begins with.

    Seconds since the last voiced sample; None for a turn that does not count.
    """
    if not turn.counts or turn.voice_to_voice_s is None:
        return None
    quiet = (s.duration_s for s in turn.spans if s.kind is SpanKind.PLAYOUT)
    return turn.voice_to_voice_s - sum(quiet)


def groups(turns: Sequence[TurnReport]) -> dict[str, list[TurnReport]]:
    """Turns by mode, and by pace and Cluster where these differ, in order of appearance."""
    keys = ["mode", *(key for key in ("pace", "cluster") if _differ(turns, key))]
    grouped: dict[str, list[TurnReport]] = defaultdict(list)
    for turn in turns:
        grouped[", ".join(getattr(turn, key) for key in keys if getattr(turn, key))].append(turn)
    return dict(grouped)


def _differ(turns: Iterable[TurnReport], key: str) -> bool:
    return len({getattr(turn, key) for turn in turns}) > 1


def breakdown(turns: Iterable[TurnReport]) -> list[Stage]:
    """Where the time goes, by Component and kind, over turns that count and have spans."""
    tables = [stage_totals(turn.spans) for turn in counted(turns) if turn.spans]
    order = dict.fromkeys(key for table in tables for key in table)
    return [_stage(*key, tables) for key in order]


def stage_totals(spans: Iterable[Span]) -> dict[tuple[str, SpanKind], float]:
    """Seconds by Component and kind, in order of appearance."""
    totals: dict[tuple[str, SpanKind], float] = defaultdict(float)
    for span in spans:
        totals[span.component, span.kind] += span.duration_s
    return dict(totals)


def _stage(
    component: str, kind: SpanKind, tables: Sequence[Mapping[tuple[str, SpanKind], float]]
) -> Stage:
    seconds = np.array([table.get((component, kind), 0.0) for table in tables])
    totals = np.array([sum(table.values()) for table in tables])
    shares = np.divide(seconds, totals, out=np.zeros_like(seconds), where=totals > 0)
    return Stage(
        component=component,
        kind=kind,
        mean_s=float(seconds.mean()),
        median_s=float(np.median(seconds)),
        mean_share=float(shares.mean()),
        median_share=float(np.median(shares)),
    )


def median_turn(turns: Iterable[TurnReport]) -> TurnReport | None:
    """The turn whose latency is nearest the median; of two as near, the faster one."""
    ranked = sorted(counted(turns), key=lambda turn: turn.voice_to_voice_s or 0.0)
    return ranked[(len(ranked) - 1) // 2] if ranked else None


def even(
    first: Sequence[TurnReport], second: Sequence[TurnReport]
) -> tuple[list[TurnReport], list[TurnReport]]:
    """Both sides cut to the same utterances, by label, each equally often.

    Without this a side that fails on its hardest utterance would look the faster one.
    """
    often = Counter(t.name for t in counted(first)) & Counter(t.name for t in counted(second))
    return _as_often(first, often), _as_often(second, often)


def _as_often(turns: Iterable[TurnReport], often: Counter[str]) -> list[TurnReport]:
    left, kept = often.copy(), []
    for turn in counted(turns):
        if left[turn.name] > 0:
            left[turn.name] -= 1
            kept.append(turn)
    return kept


def ratio_of_medians(numerator_s: Iterable[float], denominator_s: Iterable[float]) -> float | None:
    """Median over median, without unit; None where a side is empty or the divisor is 0."""
    above, below = summary(numerator_s), summary(denominator_s)
    if above is None or below is None or not below.median_s:
        return None
    return above.median_s / below.median_s


def rounded(parts: Sequence[float]) -> list[int]:
    """Whole numbers that add up to the rounded sum of `parts` (largest remainders go up)."""
    floors = [int(np.floor(part)) for part in parts]
    missing = round(sum(parts)) - sum(floors)
    by_remainder = sorted(range(len(parts)), key=lambda i: floors[i] - parts[i])
    for i in by_remainder[:missing]:
        floors[i] += 1
    return floors
