"""What was measured of one Cluster in one mode of one Run: a column a metric, an entry a turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from turnlab.profiles import SpanKind

Values = NDArray[np.float64]
"""An entry a turn, in the order of `Measured.track_ids`; NaN where the turn has none."""


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """What is judged and compared: a Cluster in one mode of one Run."""

    run_id: str
    cluster: str
    mode: str

    def __str__(self) -> str:
        return f"{self.cluster} ({self.mode})"


@dataclass(kw_only=True)
class ComponentMeasures:
    """What was measured of one Component. Seconds, an entry a turn, NaN where there was no Task."""

    task_name: str = ""
    model: Values
    """Sum of its `model_*`."""
    transfer: Values
    queue: Values
    wait: Values
    first_output: Values
    """From its claim to its first Chunk."""
    total: Values
    """From its claim to its end."""
    cost: Values
    """US dollars; NaN where not known, 0 where nothing is charged."""
    cpu: Values
    path: Values
    """What it has of the critical path, all kinds of spans together."""


@dataclass(kw_only=True)
class Measured:
    """All turns of one Subject, warm-ups left out, in the order in which they were begun."""

    subject: Subject
    cluster_hash: str
    track_ids: list[str]
    turn_ids: list[str]
    """The turn of the dataset; equal ids are repetitions of one turn."""
    repeats: NDArray[np.int32]
    statuses: list[str]
    errors: list[str]
    """Error codes; empty where there is none."""
    counts: NDArray[np.bool_]
    """Turns that belong in statistics of latency: completed, and a reply was heard."""
    columns: dict[str, Values]
    """By metric, see metrics.METRICS: `voice_to_voice`, `first_text`, `first_sound`, `end`,
    `model`, `transfer`, `queue`, `wait`, `cost`, `speech`, `talk`, `cpu`, `memory`, and those of
    accuracy for which there are references."""
    components: dict[str, ComponentMeasures]
    """By name, in the Cluster's order."""
    stages: dict[tuple[str, SpanKind], Values]
    """Seconds of the critical path by Component and kind, in order of appearance."""
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Failed turns by Component (empty where unknown) and error code."""
    absent: dict[str, str] = field(default_factory=dict)
    """Metrics that could not be measured, and why, such as `wer`: no reference transcript."""

    def __len__(self) -> int:
        return len(self.track_ids)
