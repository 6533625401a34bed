"""Picks out of what Tasks made what the references of a dataset tell too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from turnlab.bench.measuring.accuracy import Told
from turnlab.chunks import Emotion, Passages, Transcript
from turnlab.turn_records import TRANSCRIPT

T = TypeVar("T")

Made = Mapping[str, Any]
"""A `result_profile`."""

_KINDS = {"transcript": Transcript.kind, "passages": Passages.kind, "emotion": Emotion.kind}
"""By sort of reference what a Component makes that can be held against it."""


class Answers:
    """The answers of a Run. Where several Components of a Cluster make one, the last one counts.

    `pins` are those of the Run, `wanted` the sorts of reference that there are.
    """

    def __init__(self, pins: Mapping[str, Any], wanted: Collection[str]) -> None:
        self.told = Told(heard={}, found={}, felt={})
        self._same: dict[Any, Any] = {}
        self._takers: dict[tuple[str, str], Callable[[str, Made], None]] = {}
        for cluster, pinned in pins.get("clusters", {}).items():
            for sort in wanted:
                self._take(cluster, pinned.get("components", ()), sort)

    def _take(self, cluster: str, components: Collection[Made], sort: str) -> None:
        take = {"transcript": self._heard, "passages": self._found, "emotion": self._felt}[sort]
        makers = [each["name"] for each in components if each.get("produces") == _KINDS[sort]]
        for name in makers[-1:]:
            self._takers[cluster, name] = take
        if sort == "transcript" and not makers:
            for each in components:
                self._takers.setdefault((cluster, each["name"]), self._heard_beside)

    @property
    def names(self) -> set[str]:
        """The Components that may have an answer, in whichever Cluster."""
        return {name for _, name in self._takers}

    def add(self, cluster: str, name: str, track_id: str, made: Made) -> None:
        """A Task of a Component."""
        take = self._takers.get((cluster, name))
        if take is not None:
            take(track_id, made)

    def join(self, later: Answers) -> None:
        """What `later` was told too."""
        self.told.heard.update(later.told.heard)
        self.told.found.update(later.told.found)
        self.told.felt.update(later.told.felt)

    def _heard(self, track_id: str, made: Made) -> None:
        self.told.heard[track_id] = self._once(str(made.get("text", "")))

    def _heard_beside(self, track_id: str, made: Made) -> None:
        """What a Module says that it heard which makes something else."""
        if heard := made.get(TRANSCRIPT):
            self.told.heard[track_id] = self._once(str(heard))

    def _found(self, track_id: str, made: Made) -> None:
        sources = tuple(str(each.get("source")) for each in made.get("passages", ()))
        self.told.found[track_id] = self._once(sources)

    def _felt(self, track_id: str, made: Made) -> None:
        self.told.felt[track_id] = self._once(str(made.get("labels", {}).get("M", "")))

    def _once(self, value: T) -> T:
        """`value`, or one like it that is kept already: repetitions mostly tell the same."""
        kept: T = self._same.setdefault(value, value)
        return kept
