"""Which metrics there are, and what each of them means.

docs/reference/metrics.md has a section of each; a test holds the two together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Unit = Literal["s", "usd", "ratio", "mib", "score"]
Kind = Literal["percentile", "mean", "ratio", "peak"]

JUDGED = "judge."
"""What the metric of a criterion begins with, such as `judge.helpful`."""

_JUDGED_HEADING = "judge.<criterion>"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What one metric means."""

    name: str
    title: str
    unit: Unit
    statistic: Kind
    """`percentile`: a value a turn, named with what is told of them, such as `.p95`; `mean`: one
    figure, a mean over turns; `ratio`: one figure, a sum over a sum; `peak`: the largest."""
    better: Literal["less", "more"]
    formula: str

    @property
    def anchor(self) -> str:
        """Where docs/reference/metrics.md tells of it."""
        heading = _JUDGED_HEADING if self.name.startswith(JUDGED) else self.name
        return re.sub(r"[^a-z0-9_ -]", "", heading.lower())


def _seconds(name: str, title: str, formula: str) -> Metric:
    return Metric(
        name=name, title=title, unit="s", statistic="percentile", better="less", formula=formula
    )


def _one(
    name: str,
    title: str,
    formula: str,
    unit: Unit = "ratio",
    kind: Kind = "ratio",
    better: Literal["less", "more"] = "less",
) -> Metric:
    return Metric(name=name, title=title, unit=unit, statistic=kind, better=better, formula=formula)


METRICS = MappingProxyType(
    {
        each.name: each
        for each in (
            _seconds(
                "voice_to_voice",
                "Voice to voice",
                "first audible sample of the reply - last voiced sample",
            ),
            _seconds("first_text", "First text", "first Reply - last voiced sample"),
            _seconds(
                "first_sound",
                "First sound",
                "voice_to_voice - quiet that the first audible Speech begins with",
            ),
            _seconds(
                "end",
                "End of the reply",
                "end of the Task that makes the Speech - last voiced sample",
            ),
            _seconds("model", "Inference", "sum of model_* over the Tasks of a turn"),
            _seconds("transfer", "Transfer", "sum of transfer_* over the Tasks of a turn"),
            _seconds(
                "queue",
                "Queue",
                "sum of (claimed - created) and of queue_* over the Tasks of a turn",
            ),
            _seconds("wait", "Wait", "sum of wait_* over the Tasks of a turn"),
            _seconds(
                "cpu", "Processor time", "processor seconds of the process while the turn ran"
            ),
            _one(
                "completed",
                "Completed turns",
                "completed / (completed + failed)",
                better="more",
            ),
            _one(
                "heard",
                "Heard replies",
                "completed with a reply that was heard / (completed + failed)",
                better="more",
            ),
            _one("wer", "Word error rate", "sum of (S + D + I) / sum of reference words"),
            _one("cer", "Character error rate", "sum of (S + D + I) / sum of reference characters"),
            _one(
                "retrieval.hit",
                "Turns whose answer was retrieved",
                "turns with a right source among the retrieved / turns with a reference",
                better="more",
            ),
            _one(
                "retrieval.rank",
                "Mean reciprocal rank",
                "mean of 1 / rank of the first right source, 0 where there is none",
                kind="mean",
                better="more",
            ),
            _one(
                "emotion.accuracy",
                "Emotions judged right",
                "turns whose label is the reference's / turns with a reference",
                better="more",
            ),
            _one("cost_per_turn", "Cost of a turn", "mean of cost", unit="usd", kind="mean"),
            _one(
                "cost_per_hour",
                "Cost of an hour of talk",
                "3600 * sum of cost / sum of talk",
                unit="usd",
            ),
            _one(
                "cost_per_hour_of_speech",
                "Cost of an hour of the user's speech",
                "3600 * sum of cost / sum of speech",
                unit="usd",
            ),
            _one(
                "cost_per_hour_of_reply",
                "Cost of an hour of replies",
                "3600 * sum of cost / sum of reply",
                unit="usd",
            ),
            _one("memory", "Peak memory", "maximum of the peaks of turns", unit="mib", kind="peak"),
        )
    }
)
"""By name. Those of latency and time need a statistic as well, such as `voice_to_voice.p95`."""

COMPONENT_METRICS = MappingProxyType(
    {
        each.name: each
        for each in (
            *(METRICS[name] for name in ("model", "transfer", "queue", "wait", "cpu")),
            _seconds("first_output", "First output", "first Chunk - claimed"),
            _seconds("total", "Claim to end", "end - claimed"),
            _seconds("path", "Share of the critical path", "sum of the Component's spans"),
            Metric(
                name="cost",
                title="Cost",
                unit="usd",
                statistic="percentile",
                better="less",
                formula="cost_usd of the Task",
            ),
        )
    }
)
"""Those that a Component has as well, or alone: `speech2text.model.p95`."""


def judged(criterion: str) -> Metric:
    """What a judging model gave the replies by a criterion of its rubric."""
    return Metric(
        name=f"{JUDGED}{criterion}",
        title=f"Judged {criterion}",
        unit="score",
        statistic="mean",
        better="more",
        formula="mean of the scores that the judge gave",
    )
