"""How a Run goes on, on stderr: turns done, time left, current medians."""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from turnlab.bench.replay.harness import Monitor
from turnlab.bench.replay.schedule import Entrant, Job
from turnlab.errors import TurnlabError
from turnlab.reports.words import clean, so_many
from turnlab.tracks import Track

REDRAWN_S = 0.5
"""Between two drawings where several turns run at once; one at a time, it is drawn in between."""

NEWEST = 1_000
"""Turns that the median shown is of: to sort all of them after each would take ever longer."""

PLAIN_S = 30.0
"""Between two lines where there is no terminal."""


@dataclass(kw_only=True)
class _Tally:
    """What is known of one Cluster in one mode."""

    total: int = 0
    done: int = 0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=NEWEST))
    ran: int = 0
    took_s: float = 0.0
    """All that ran together."""
    failures: Counter[str] = field(default_factory=Counter)


class BenchProgress(Monitor):
    """Draws only between turns, and from no thread of its own, so that no turn is slower for it."""

    def __init__(
        self, console: Console, jobs: Sequence[Job], left: Sequence[Job], lanes: int
    ) -> None:
        self._console = console
        self._lanes = lanes
        self._tallies: dict[Entrant, _Tally] = {}
        for job in jobs:
            tally = self._tallies.setdefault(job.entrant, _Tally())
            tally.total += 1
            tally.done += 1
        for job in left:
            self._tallies[job.entrant].done -= 1
        self._live: Live | None = None
        self._drawn_s = time.monotonic()
        self._doing = ""

    def __enter__(self) -> BenchProgress:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            self._live.stop()

    def loading(self, cluster: str) -> None:
        self._say(f"loading the models of {cluster}")

    def cannot_load(self, cluster: str, error: TurnlabError) -> None:
        self._tell(f"{cluster} cannot be loaded, so its turns will fail: {error.message}")

    def warming(self, entrant: Entrant) -> None:
        self._say(f"warming {entrant} up")

    def warm_up_failed(self, entrant: Entrant, track: Track) -> None:
        self._tell(
            f"{entrant} failed at its warm-up ({track.error_code}): {track.error_message} "
            "Its turns are tried all the same."
        )

    def ended(self, job: Job, track: Track, took_s: float) -> None:
        tally = self._tallies[job.entrant]
        tally.done += 1
        tally.ran += 1
        tally.took_s += took_s
        if track.voice_to_voice_s is not None:
            tally.latencies_s.append(track.voice_to_voice_s)
        if track.error_code:
            tally.failures[track.error_code] += 1
            if tally.failures[track.error_code] == 1:
                self._tell(
                    f"{job.entrant}, {job.turn.id}: {track.error_code}: {track.error_message}"
                )
        self._doing = ""
        self._draw()

    def _say(self, words: str) -> None:
        self._doing = words
        if self._live:
            self._draw(at_once=True)
        else:
            self._console.print(words, markup=False)

    def _tell(self, words: str) -> None:
        self._console.print(Text.assemble(("! ", "bold red"), clean(words)), soft_wrap=True)

    def _draw(self, at_once: bool = False) -> None:
        now_s = time.monotonic()
        often_s = PLAIN_S if self._live is None else REDRAWN_S if self._lanes > 1 else 0.0
        finished = all(tally.done >= tally.total for tally in self._tallies.values())
        if not (at_once or finished) and now_s - self._drawn_s < often_s:
            return
        self._drawn_s = now_s
        if self._live:
            self._live.update(self._view(), refresh=True)
        else:
            medians = ", ".join(f"{e} {_median(t)}" for e, t in self._tallies.items() if t.ran)
            line = f"{self._so_far()}; median: {medians}"
            self._console.print(line, markup=False, soft_wrap=True)

    def _view(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for title in ("", "turns", "median", "failed"):
            table.add_column(title, justify="left" if not title else "right")
        for entrant, tally in self._tallies.items():
            failed = sum(tally.failures.values())
            cells = (str(entrant), f"{tally.done} of {tally.total}", _median(tally))
            table.add_row(*cells, Text(str(failed), style="red") if failed else "")
        done, total = self._counts()
        foot = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(total, 1), completed=done, width=30)
        foot.add_row(bar, Text(self._doing or self._so_far()))
        return Group(table, foot)

    def _so_far(self) -> str:
        done, total = self._counts()
        left = f", {_clock(self.left_s())} left" if done < total else ""
        return f"{done} of {so_many(total, 'turn')}{left}"

    def _counts(self) -> tuple[int, int]:
        tallies = self._tallies.values()
        return sum(tally.done for tally in tallies), sum(tally.total for tally in tallies)

    def left_s(self) -> float:
        """Seconds until all is done, at the mean of each Cluster's turns so far."""
        tallies = self._tallies.values()
        ran = sum(tally.ran for tally in tallies)
        if not ran:
            return 0.0
        usual_s = sum(tally.took_s for tally in tallies) / ran
        left_s = sum(
            (tally.total - tally.done) * (tally.took_s / tally.ran if tally.ran else usual_s)
            for tally in tallies
        )
        return left_s / self._lanes


def _median(tally: _Tally) -> str:
    return f"{statistics.median(tally.latencies_s):.3f} s" if tally.latencies_s else "-"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
