"""What the page about a Run is made from: plain values, whoever measured and judged them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from turnlab.reports.numbers import Stage
from turnlab.reports.turn import TurnReport

LATENCIES = ("voice_to_voice", "first_text", "first_sound", "end")
"""The metrics whose distributions are shown, by name."""
TIMES = ("model", "transfer", "queue", "wait")
"""What the time of a whole turn went into, over all its Tasks, also those beside the path."""
PERCENTILES = ("p50", "p90", "p95", "p99")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a figure is, for tips and for the notes at the end."""

    title: str
    """For people, such as `Voice to voice, p95`."""
    unit: str
    """`s`, `usd`, `ratio`, `mib`."""
    formula: str
    of: str
    """The metric's own name, such as `voice_to_voice`: what the notes explain once."""
    better: str = "less"
    """Whether `less` or `more` of it is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure with its 95 % interval; `why` tells why there is none, `note` of an open end."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """From how many turns."""
    why: str = ""
    note: str = ""

    @property
    def bounded(self) -> bool:
        """Whether at least one end of the interval is known."""
        return self.low is not None or self.high is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What became of one limit for one subject."""

    subject: str
    limit: str
    """As it was written, such as `voice_to_voice.p95 <= 1.0`."""
    metric: str
    """The figure's name, a key of RunReport.meanings."""
    unit: str
    bound: float
    outcome: str
    """`pass`, `fail` or `undecided`."""
    figure: Figure
    sentence: str
    blame: str = ""
    """The sentence on which Component would have to give how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and standard deviation in seconds (n - 1 in the divisor) over `n` Tasks or Tracks."""

    mean_s: float
    deviation_s: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentLine:
    """One Component of a subject; Spreads are None where no Task of it measured any."""

    name: str
    task_name: str
    model: Spread | None
    transfer: Spread | None
    total: Spread | None
    cost_usd: float | None = None
    """Mean per turn."""
    cpu_s: float | None = None
    """Mean per turn, seconds of one core."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """By what it is of and its percentile, such as `model.p95`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailRow:
    """One Track of the detail view. `tasks` are model and transfer seconds of each Component."""

    track_id: str
    turn_id: str
    repeat: int
    status: str
    error: str
    tasks: tuple[tuple[float, float], ...]
    total_s: float
    """NaN where the Track never came to an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldTurn:
    """One Track in words and sound, as one repetition of one turn of the dataset."""

    subject: str
    turn_id: str
    repeat: int
    turn: TurnReport
    interrupted: bool = False
    wer: float | None = None


@dataclass(frozen=True, kw_only=True)
class SubjectReport:
    """What is told of one Cluster in one mode of one Run."""

    name: str
    """Such as `CLUSTER_A (streamed)`; unique on the page."""
    cluster: str
    mode: str
    run_id: str
    tracks: int
    statuses: Mapping[str, int]
    """How many Tracks ended how; `interrupted` and `silent` (no reply heard) are named as such."""
    lost: int = 0
    """Tracks that failed, or completed without a sound: never answered."""
    latencies: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """By metric of LATENCIES: seconds of the turns that count, sorted, without NaN."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """By name, such as `voice_to_voice.p95`, `wer`, `cost_per_turn`."""
    budget_s: float | None = None
    """The strictest limit on voice-to-voice latency, drawn into the pictures."""
    stages: tuple[Stage, ...] = ()
    components: tuple[ComponentLine, ...] = ()
    total: Spread | None = None
    """Of whole Tracks that completed: the sum of model and transfer seconds."""
    landmarks: Mapping[str, ToldTurn] = field(default_factory=dict)
    """`median`, `95th percentile` and `worst`, as far as there are."""
    failures: tuple[tuple[str, str, int], ...] = ()
    """Component (empty where unknown), error code, number of Tracks; the most frequent first."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Metrics that could not be measured, and why."""
    details: tuple[DetailRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceLine:
    """One metric of two subjects; `low` and `high` bound the difference, b less a."""

    metric: str
    """The figure's name, such as `voice_to_voice.p50`."""
    title: str
    unit: str
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    ratio: float | None
    regression: bool
    sentence: str
    better: str = "less"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReport:
    """How subject `b` differs from subject `a`, turn by turn."""

    a: str
    b: str
    sentence: str
    differences: tuple[DifferenceLine, ...]
    refused: str = ""
    """Why the two cannot be compared, if so; there is no sentence then, and no difference."""
    worse: str = "worse"
    """What to call a regression: that alone where nothing but the Run differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What the figures belong to: facts under a heading."""

    heading: str
    facts: Mapping[str, str]
    command: str = ""
    """What begins such a Run again."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The whole report on one or several Runs."""

    title: str
    headline: str
    subjects: tuple[SubjectReport, ...]
    rulings: tuple[Ruling, ...] = ()
    comparisons: tuple[ComparisonReport, ...] = ()
    turns: tuple[ToldTurn, ...] = ()
    """Those that are told one by one; the most telling where there are more."""
    meanings: Mapping[str, Meaning] = field(default_factory=dict)
    """By the name of a figure, such as `voice_to_voice.p95`, and by that of a metric."""
    accuracy: tuple[str, ...] = ()
    """The figures that tell how right a Cluster is, the most telling first."""
    pins: tuple[Pins, ...] = ()
    remarks: tuple[str, ...] = ()
    """What a reader must know before the figures, such as that a Run is not complete."""

    @property
    def tracks(self) -> int:
        """How many Tracks it is about."""
        return sum(subject.tracks for subject in self.subjects)
