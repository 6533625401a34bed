"""What each metric is made from: columns of what was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from turnlab.bench.measuring.measures import Measured
from turnlab.bench.measuring.metric_list import JUDGED
from turnlab.bench.measuring.metric_names import MetricName, parse_metric
from turnlab.bench.measuring.statistics import Floats, Resampling
from turnlab.tracks import TrackStatus


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a figure is made from: a column or two over all turns, NaN where a turn has none."""

    name: MetricName
    values: Floats
    over: Floats | None = None
    """The divisor of a ratio of sums; None where `values` are taken as they are."""
    factor: float = 1.0
    """Of a ratio of sums."""
    why_absent: str = ""

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which turns have it."""
        there = ~np.isnan(self.values)
        return there if self.over is None else there & ~np.isnan(self.over)

    @property
    def share(self) -> bool:
        """Whether it is the share of turns with a 1 among those with 0 or 1."""
        return self.name.metric.statistic == "ratio" and self.over is None

    def only(self, rows: NDArray[np.int64]) -> Sample:
        """The same of some turns, in their order."""
        over = None if self.over is None else self.over[rows]
        return replace(self, values=self.values[rows], over=over)

    def where(self, there: NDArray[np.bool_]) -> Sample:
        """The same, NaN in all other turns."""
        return replace(self, values=np.where(there, self.values, np.nan))

    def value(self) -> float | None:
        """The figure itself, None where there is none."""
        values = self.values[self.there]
        if not values.size:
            return None
        if self.over is not None:
            below = float(self.over[self.there].sum())
            return self.factor * float(values.sum()) / below if below else None
        if (level := self.name.level) is not None:
            return float(np.quantile(values, level))
        return float(values.max() if self.name.metric.statistic == "peak" else values.mean())

    def draws(self, resampling: Resampling) -> Floats:
        """The figure in each resample."""
        if self.over is not None:
            return self.factor * resampling.ratios(self.values, self.over)
        if (level := self.name.level) is not None:
            return resampling.quantiles(self.values, [level])[0]
        return resampling.means(self.values)


_NOT_JUDGED = "nobody judged the replies by it; see `turnlab judge --help`"
_LATENCY = ("voice_to_voice", "first_text", "first_sound", "end")
_SUMS = {
    "wer": ("word_errors", "words", 1.0),
    "cer": ("character_errors", "characters", 1.0),
    "cost_per_hour": ("cost", "talk", 3600.0),
    "cost_per_hour_of_speech": ("cost", "speech", 3600.0),
    "cost_per_hour_of_reply": ("cost", "reply", 3600.0),
}
_SHARES_OF_ALL = ("completed", "heard")
_COLUMNS = {"cost_per_turn": "cost", "emotion.accuracy": "emotion_right"}


def sample(measured: Measured, name: MetricName | str) -> Sample:
    """What a metric is made from. Raises InvalidBudget for a name that is none."""
    asked = parse_metric(name) if isinstance(name, str) else name
    why = why_absent(measured, asked)
    if asked.component:
        return Sample(name=asked, values=_of_component(measured, asked), why_absent=why)
    key = asked.metric.name
    if key in _SHARES_OF_ALL:
        done = measured.having(TrackStatus.COMPLETED)
        ended = done | measured.having(TrackStatus.FAILED)
        good = measured.counts if key == "heard" else done
        return Sample(name=asked, values=np.where(ended, good, np.nan), why_absent=why)
    if key in _SUMS:
        above, below, factor = _SUMS[key]
        columns = _column(measured, above), _column(measured, below)
        return Sample(name=asked, values=columns[0], over=columns[1], factor=factor, why_absent=why)
    return Sample(name=asked, values=_values(measured, asked), why_absent=why)


def _values(measured: Measured, asked: MetricName) -> Floats:
    """The value that each turn has."""
    key = asked.metric.name
    if key in _LATENCY:
        return np.where(measured.counts, _column(measured, key), np.nan)
    if not key.startswith("retrieval."):
        return _column(measured, _COLUMNS.get(key, key))
    ranks = _column(measured, "retrieval_rank")
    known = ~np.isnan(ranks)
    hit = ranks > 0 if not asked.depth else (ranks > 0) & (ranks <= asked.depth)
    if key == "retrieval.hit":
        return np.where(known, hit, np.nan)
    inverse = np.divide(1.0, ranks, out=np.zeros(len(ranks)), where=ranks > 0)
    return np.where(known, inverse, np.nan)


def _column(measured: Measured, key: str) -> Floats:
    """A column, of turns that completed."""
    absent = np.full(len(measured), np.nan)
    done = measured.having(TrackStatus.COMPLETED)
    return np.where(done, measured.columns.get(key, absent), np.nan)


def _of_component(measured: Measured, asked: MetricName) -> Floats:
    component = measured.components.get(asked.component)
    if component is None:
        return np.full(len(measured), np.nan)
    values: Floats = getattr(component, asked.metric.name)
    return np.where(measured.having(TrackStatus.COMPLETED), values, np.nan)


def why_absent(measured: Measured, asked: MetricName) -> str:
    """Why a metric would have no value, should it have none."""
    if asked.component and asked.component not in measured.components:
        there = ", ".join(measured.components) or "none"
        return f"{measured.subject.cluster} has no Component {asked.component!r}; it has {there}"
    if known := measured.absent.get(asked.metric.name):
        return known
    if asked.metric.name.startswith(JUDGED):
        return _NOT_JUDGED
    if asked.metric.name in _SHARES_OF_ALL:
        return "no turn has completed or failed"
    if not measured.having(TrackStatus.COMPLETED).any():
        return "no turn completed"
    if asked.metric.name in _LATENCY and not measured.counts.any():
        return "no reply was heard in any turn that completed"
    return "it was measured in no turn that completed"


def paired_samples(
    first: Measured, second: Measured, name: MetricName | str
) -> tuple[Sample, Sample, NDArray[np.int64]]:
    """What a metric is made from in the turns that both have: the same turn and repetition.

    Row i of both is one turn, NaN where one of them has no value; last come the groups of the
    rows, for a Resampling of both.
    """
    rows, others = first.shared_rows(second)
    one, other = sample(first, name).only(rows), sample(second, name).only(others)
    both = one.there & other.there
    return one.where(both), other.where(both), first.groups()[rows]
