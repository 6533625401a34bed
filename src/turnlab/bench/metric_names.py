"""Which metrics there are, what each of them means, and how they are named in budgets.

docs/reference/metrics.md has a section of each; a test holds the two together.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from turnlab.errors import InvalidBudget

Unit = Literal["s", "usd", "ratio", "mib"]
Kind = Literal["percentile", "mean", "ratio", "peak"]

STATISTICS = ("p50", "p90", "p95", "p99", "mean")
"""What is reported of a metric that has a value a turn; budgets may name any pN."""

DEPTHS = (1, 3, 5)
"""The k at which `retrieval.hit@k` is reported; budgets may name any."""

_WITH_STATISTIC = re.compile(r"(.+)\.(p(?!0+(?:\.0*)?$)\d{1,2}(?:\.\d{1,3})?|mean)")
_DEPTH = re.compile(r"retrieval\.hit@([1-9]\d{0,2})")
_SHOWN = 80


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
        return re.sub(r"[^a-z0-9_ -]", "", self.name.lower())


@dataclass(frozen=True, kw_only=True)
class MetricName:
    """What a name such as `speech2text.model.p95` says."""

    text: str
    metric: Metric
    component: str = ""
    """Empty for a metric of the whole turn."""
    statistic: str = ""
    """Such as `p95` or `mean`; empty for metrics that are one figure."""
    depth: int = 0
    """The k of `retrieval.hit@k`; 0: all that were retrieved."""

    @property
    def level(self) -> float | None:
        """The quantile, such as 0.95; None if it is none."""
        return float(self.statistic[1:]) / 100 if self.statistic.startswith("p") else None

    @property
    def title(self) -> str:
        """What to call it on a page."""
        whose = f"{self.component}: " if self.component else ""
        told = f", {self.statistic}" if self.statistic else ""
        at = f" among the first {self.depth}" if self.depth else ""
        return f"{whose}{self.metric.title}{at}{told}"

    def __str__(self) -> str:
        return self.text


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


def parse_metric(text: str) -> MetricName:
    """What a metric's name says. Raises InvalidBudget that names the nearest ones."""
    text = text.strip()
    if found := _DEPTH.fullmatch(text):
        return MetricName(text=text, metric=METRICS["retrieval.hit"], depth=int(found[1]))
    if (metric := METRICS.get(text)) and metric.statistic != "percentile":
        return MetricName(text=text, metric=metric)
    if found := _WITH_STATISTIC.fullmatch(text):
        component, _, name = found[1].rpartition(".")
        metric = (COMPONENT_METRICS if component else METRICS).get(name)
        if metric and metric.statistic == "percentile":
            return MetricName(text=text, metric=metric, component=component, statistic=found[2])
    raise InvalidBudget(_unknown(text))


_ASKED_FOR = ("cost_per_hour_of_speech", "cost_per_hour_of_reply")
"""Not reported unless somebody asks."""


def standard_names() -> Iterator[str]:
    """Every metric of a whole turn as it is reported, in the order of METRICS."""
    for metric in METRICS.values():
        if metric.name not in _ASKED_FOR:
            yield from _reported(metric, metric.name)


def component_names(component: str) -> Iterator[str]:
    """The same of one Component."""
    for metric in COMPONENT_METRICS.values():
        yield from _reported(metric, f"{component}.{metric.name}")


def _reported(metric: Metric, name: str) -> Iterator[str]:
    if metric.statistic == "percentile":
        yield from (f"{name}.{statistic}" for statistic in STATISTICS)
        return
    yield name
    if name == "retrieval.hit":
        yield from (f"{name}@{depth}" for depth in DEPTHS)


def _unknown(text: str) -> str:
    shown = repr(text[:_SHOWN])
    if text in METRICS:
        return f"{shown} has a value a turn: say which is meant, such as {text}.p95 or {text}.mean."
    whose, _, rest = text.partition(".")
    of_component = [f"{whose}.{name}.p95" for name in COMPONENT_METRICS] if rest else []
    names = [*standard_names(), *METRICS, *of_component]
    near = difflib.get_close_matches(text[:_SHOWN], names, n=3)
    if near:
        return f"There is no metric {shown}; did you mean {' or '.join(near)}?"
    return f"There is no metric {shown}; there are {', '.join(METRICS)}."
