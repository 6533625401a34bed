"""What the rows of `voice_to_voice` say, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.parts.figures import Ratio, quantile, ratio

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A ratio of two variants that must be at most, or at least, `limit`."""

    above: str
    below: str
    limit: float | None = None
    at_least: bool = False
    sentences: int = 0
    """Only replies of at least so many sentences count (of the variant below)."""
    key: str = "voice_to_voice_s"
    """What is compared."""


GOALS = (
    Goal(above="turnlab_off", below="plain", limit=1.03),
    Goal(above="turnlab", below="plain", limit=0.85),
    Goal(above="turnlab_realtime", below="plain_realtime", limit=0.70),
    Goal(above="turnlab_chained", below="turnlab", limit=1.8, at_least=True, sentences=2),
    Goal(above="turnlab_chained_off", below="turnlab_off", sentences=2),
    Goal(above="turnlab", below="plain_levers"),
    Goal(above="turnlab_realtime", below="plain_levers_realtime"),
    Goal(above="turnlab", below="turnlab_off"),
    Goal(above="turnlab", below="turnlab_off", key="reply_done_s"),
    Goal(above="turnlab", below="turnlab_off", key="writing_s"),
    Goal(above="plain_levers", below="plain"),
    Goal(above="plain_levers_realtime", below="plain_realtime"),
)


def summary(rows: list[Row], goals: tuple[Goal, ...] = GOALS) -> dict[str, Any]:
    """All figures as one object that can be written as JSON."""
    return {
        "variants": {name: _figures(mine) for name, mine in _by_variant(rows).items()},
        "ratios": list(_ratios(rows, goals)),
        "same_text": list(_same_text(rows)),
        "spans_error_ms": _worst(rows, "spans_error_s", 1e3),
        "others_cores": _worst(rows, "others_cores", 1.0),
    }


def as_markdown(found: dict[str, Any]) -> Iterator[str]:
    """The lines of the report."""
    yield "| variant | n | median, ms | p95, ms | reply done, median ms | silence in replies, ms |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, row in found["variants"].items():
        yield (
            f"| {name} | {row['n']} | {row['median_ms']:.0f} | {row['p95_ms']:.0f} "
            f"| {row['done_ms']:.0f} | {row['silence_ms']:.0f} in {row['gaps']} gaps |"
        )
    yield ""
    yield "| variant | pauses of the model | paused, ms | model at work, ms | said = written |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, row in found["variants"].items():
        yield (
            f"| {name} | {row['pauses']} | {row['paused_ms']:.0f} | {row['writing_ms']:.0f} "
            f"| {row['said_as_written']} of {row['n']} |"
        )
    yield ""
    yield from _ratio_lines(found["ratios"])
    yield ""
    for same in found["same_text"]:
        yield (
            f"{same['above']} and {same['below']}: same transcript in {same['transcript']}, "
            f"same reply in {same['reply']} of {same['n']} turns; {same['differ']} replies differ "
            "although the transcripts are the same."
        )
    yield f"Spans sum to the total within {found['spans_error_ms']:.3f} ms (limit 1 ms)."
    yield f"Other workers used at most {found['others_cores']:.3f} of a core during a turn."


def _ratio_lines(ratios: list[dict[str, Any]]) -> Iterator[str]:
    yield (
        "| ratio | n | median | 95 % interval | p95 | 95 % interval "
        "| turn by turn | 95 % interval | asked | verdict |"
    )
    yield "| --- | ---: | ---: | --- | ---: | --- | ---: | --- | --- | --- |"
    for row in ratios:
        figures = " | ".join(
            f"{row[key]:.3f} | {row[f'{key}_interval'][0]:.3f} to {row[f'{key}_interval'][1]:.3f}"
            for key in ("median", "p95", "paired")
        )
        yield f"| {row['name']} | {row['n']} | {figures} | {row['asked']} | {row['verdict']} |"


def _figures(rows: list[Row]) -> dict[str, Any]:
    took = [row["voice_to_voice_s"] for row in rows]
    gaps = [gap for row in rows for gap in row["gaps_s"]]
    return {
        "n": len(rows),
        "median_ms": 1e3 * quantile(took, 50),
        "p95_ms": 1e3 * quantile(took, 95),
        "done_ms": 1e3 * quantile([row["reply_done_s"] for row in rows], 50),
        "silence_ms": 1e3 * sum(gaps),
        "gaps": len(gaps),
        "pauses": sum(row["pauses"] for row in rows),
        "paused_ms": 1e3 * sum(row["paused_s"] for row in rows),
        "writing_ms": 1e3 * quantile([row["writing_s"] for row in rows], 50),
        "said_as_written": sum(_said_as_written(row) for row in rows),
    }


def _said_as_written(row: Row) -> bool:
    said = row.get("whole_speech_text", " ".join(row["spoken"]))
    return bool(said.split() == row["reply"].split())


def _ratios(rows: list[Row], goals: tuple[Goal, ...]) -> Iterator[dict[str, Any]]:
    for goal in goals:
        pairs = _pairs(rows, goal.above, goal.below)
        pairs = [pair for pair in pairs if _sentences(pair[1]["reply"]) >= goal.sentences]
        if pairs:
            times = [[row[goal.key] for row in side] for side in zip(*pairs, strict=True)]
            yield _judged(goal, ratio(*times))


def _judged(goal: Goal, found: Ratio) -> dict[str, Any]:
    name = f"{goal.above} / {goal.below}"
    if goal.sentences:
        name += f", replies of {goal.sentences} sentences or more"
    if goal.key != "voice_to_voice_s":
        name += f", {goal.key}"
    verdict, asked = "", ""
    if goal.limit is not None:
        asked = f"{'>=' if goal.at_least else '<='} {goal.limit:g}"
        # Where a speed-up is asked the median counts, where a limit is set the tail too.
        met = found.median >= goal.limit if goal.at_least else _within(found, goal.limit)
        verdict = "met" if met else "not met"
    return {"name": name, **asdict(found), "asked": asked, "verdict": verdict}


def _within(found: Ratio, limit: float) -> bool:
    return max(found.median, found.p95) <= limit


def _same_text(rows: list[Row]) -> Iterator[dict[str, Any]]:
    for above, below in (("turnlab", "turnlab_off"), ("turnlab_realtime", "turnlab_off")):
        pairs = _pairs(rows, above, below)
        if pairs:
            heard = [(a, b) for a, b in pairs if a["transcript"] == b["transcript"]]
            yield {
                "above": above,
                "below": below,
                "n": len(pairs),
                "transcript": len(heard),
                "reply": sum(a["reply"] == b["reply"] for a, b in pairs),
                "differ": sum(a["reply"] != b["reply"] for a, b in heard),
            }


def _pairs(rows: list[Row], above: str, below: str) -> list[tuple[Row, Row]]:
    """The turns of two variants with the same utterance in the same round."""
    others = {_turn(row): row for row in rows if row["variant"] == below}
    mine = [row for row in rows if row["variant"] == above and _turn(row) in others]
    return [(row, others[_turn(row)]) for row in mine]


def _turn(row: Row) -> tuple[int, str]:
    return row["round"], row["utterance"]


def _by_variant(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["variant"], []).append(row)
    return found


def _worst(rows: list[Row], key: str, scale: float) -> float:
    return max((scale * row[key] for row in rows if key in row), default=float("nan"))


def _sentences(text: str) -> int:
    return len(re.findall(r"[^.!?\s][^.!?]*(?:[.!?]+(?=\s|$)|$)", text))
