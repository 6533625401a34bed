"""Predictions in sentences and as JSON."""

from __future__ import annotations

from typing import Any

from turnlab.bench.predict.advice import Advice
from turnlab.bench.predict.capacity import Capacity
from turnlab.bench.predict.prediction import Prediction, Question, Share
from turnlab.bench.predict.validation import LEVELS, Check, Validation
from turnlab.reports.run_report import Figure
from turnlab.reports.run_values import amount, known, number


def headline(found: Prediction) -> str:
    """Where, how fast, and from how much."""
    half = found.figures["voice_to_voice.p50"]
    most = found.figures["voice_to_voice.p95"]
    told = f"{found.question.cluster} would answer after {with_ends(half)}"
    told += " in the median"
    if most.value is not None:
        told += f", {with_ends(most)} in the 95th percentile"
    return f"{told} ({conditions(found.question)})."


def ends(figure: Figure) -> str:
    """The interval, such as `0.601–0.633`, also where both ends are told alike; `-` for none."""  # noqa: RUF002
    low, high = number(figure.low, "s"), number(figure.high, "s")
    if figure.low is None or figure.high is None:
        return f"from {low}" if figure.low is not None else f"up to {high}" if figure.high else "-"
    return f"{low}–{high}"  # noqa: RUF001


def with_ends(figure: Figure) -> str:
    """Such as `0.618 s (0.601–0.633)`."""  # noqa: RUF002
    between = ends(figure)
    return amount(figure.value, "s") + ("" if between == "-" else f" ({between})")


def saved(seconds: float) -> str:
    """What being faster gives, such as `-12 ms`; `0 ms` of less than half of one."""
    milliseconds = round(-seconds * 1000)
    return f"{milliseconds:+d} ms" if milliseconds else "0 ms"


def verdict(right: bool | None) -> str:
    """Of an error."""
    return "too few to tell" if right is None else "right" if right else "WRONG"


def conditions(question: Question) -> str:
    """Under which it is predicted."""
    setting, told = question.setting, [str(question.setting.mode), question.company.pace]
    told.append(f"{question.load.at_once} at once")
    told.append(f"{setting.cores:g} cores")
    told += [f"{n} workers of {name}" for name, n in setting.workers.items()]
    if setting.network_s:
        told.append(f"network {setting.network_s * 1000:g} ms")
    told += [change.text for change in question.company.changes if hasattr(change, "text")]
    return ", ".join(told)


def critical(found: Prediction) -> str:
    """Whose time it is."""
    share = found.critical
    kind = max(share.seconds, key=lambda name: share.seconds[name])
    told = f"{share.component} has {share.share:.0%} of the critical path".replace("%", " %")
    seconds = sum(share.seconds.values())
    told += f" ({seconds:.3f} s in the mean, most of it {_KINDS[kind]})"
    # Beyond saturation it is noise.
    if share.faster_p50_s > 0 and share.faster_p95_s > 0:
        told += (
            f"; 10 % faster it would save {share.faster_p50_s * 1000:.0f} ms in the median, "
            f"{share.faster_p95_s * 1000:.0f} ms in the 95th percentile"
        )
    return told + "."


_KINDS = {
    "model": "its own work",
    "crowding": "what others at work add",
    "queue": "waiting",
    "transfer": "the way",
    "playout": "quiet before the sound",
}


def notes(found: Prediction) -> list[str]:
    """What is to be known of the measurements."""
    told = [f"{share.component}: {share.note}." for share in found.shares if share.note]
    told += found.question.lost
    told += [f"`{limit}` is not predicted." for limit in found.question.not_predicted]
    if not found.question.company.shared:
        told.append(
            "The Components were measured on different turns, so that a question that is long for "
            "all of them is not long for all at once here: the tails are too short."
        )
    for name, figure in found.figures.items():
        if figure.value is None:
            told.append(f"{name.removeprefix('voice_to_voice.')} is not told: {figure.why}.")
    return told


def as_json(
    found: Prediction, advice: Advice | None = None, capacity: Capacity | None = None
) -> dict[str, Any]:
    """All of it."""
    question = found.question
    return {
        "cluster": question.cluster,
        "conditions": {
            "mode": str(question.setting.mode),
            "pace": question.company.pace,
            "concurrency": question.load.at_once,
            "cores": question.setting.cores,
            "workers": dict(question.setting.workers),
            "network_s": question.setting.network_s,
            "turns": question.turns,
            "seed": question.seed,
        },
        "sentence": headline(found),
        "figures": {name: _figure(each) for name, each in found.figures.items()},
        "mean_s": known(found.mean_s),
        "turns_per_minute": found.per_minute,
        "measured_turns": found.measured_turns,
        "verdicts": [
            {
                "limit": str(each.limit),
                "outcome": str(each.outcome),
                "value": known(each.value),
                "sentence": each.sentence,
            }
            for each in found.rulings
        ],
        "critical": {"component": found.critical.component, "sentence": critical(found)},
        "components": [_share(found, share) for share in found.shares],
        "notes": notes(found),
        "advice": None if advice is None else _advice(advice),
        "capacity": None if capacity is None else capacity_json(capacity),
    }


def _figure(figure: Figure) -> dict[str, Any]:
    ends = {"low": known(figure.low), "high": known(figure.high)}
    return {"value": known(figure.value), **ends, "why": figure.why}


def _share(found: Prediction, share: Share) -> dict[str, Any]:
    source = found.question.company.sources[share.component]
    return {
        "component": share.component,
        "share": share.share,
        "seconds": dict(share.seconds),
        "ten_percent_faster": {"p50_s": share.faster_p50_s, "p95_s": share.faster_p95_s},
        "measured_in": source.pool.name,
        "measured_as": source.name,
        "note": share.note,
    }


def _advice(advice: Advice) -> dict[str, Any]:
    options = [
        {
            "kind": each.kind,
            "component": each.component,
            "what": each.what,
            "p50_s": each.p50_s,
            "p95_s": each.p95_s,
            "kept": each.kept,
            "cost_usd": each.cost_usd,
        }
        for each in advice.options
    ]
    return {"sentence": advice.sentence, "options": options}


def capacity_json(capacity: Capacity) -> dict[str, Any]:
    """The most conversations, and the curve."""
    return {
        "most": capacity.most,
        "sentence": capacity.sentence,
        "pause_s": capacity.pause_s,
        "curve": [
            {
                "conversations": each.at_once,
                "p50_s": each.p50_s,
                "p95_s": each.p95_s,
                "kept": each.kept,
                "turns_per_minute": each.per_minute,
            }
            for each in capacity.points
        ],
    }


def validation_json(found: Validation) -> dict[str, Any]:
    """Every Cluster of the Run, with the errors and what is tolerated."""
    return {
        "run": found.run_id,
        "right": found.right,
        "checks": [_check(each) for each in found.checks],
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "cluster": check.group.cluster,
        "mode": check.group.mode,
        "pace": check.group.pace,
        "concurrency": check.group.concurrency,
        "sort": check.sort,
        "sentence": check.sentence,
        "errors": {
            f"p{level * 100:g}": {
                **_figure(check.errors[level]),
                "tolerated": check.tolerated(level),
                "right": check.right(level),
            }
            for level in LEVELS
        },
        "notes": list(check.notes),
    }
