"""Runs, from the database to a report: what is judged and compared, where its sound comes from."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import typer

from turnlab.bench.datasets.dataset import Dataset
from turnlab.bench.measuring.measures import Measured
from turnlab.bench.reporting.report import Findings, compared, run_report
from turnlab.bench.reporting.telling import MOST_TRACKS
from turnlab.bench.verdicts.budget import parse_limits
from turnlab.bench.verdicts.verdict import judge
from turnlab.clusters.budget import Limit
from turnlab.errors import OutputFailed, RunsDiffer
from turnlab.home import make_folder
from turnlab.reports.run_page import render_run
from turnlab.reports.run_report import RunReport
from turnlab.reports.turn import TurnReport
from turnlab.runs import Run

STDOUT = Path("-")
"""What is printed instead of written."""

MEBIBYTE = 2**20
_AT_ONCE = 20
"""Tracks whose sound is in memory at the same time."""


class AudioPlace(StrEnum):
    """Where the sound of a page lies: inside it, in a folder beside it, or nowhere."""

    EMBED = "embed"
    LINK = "link"
    NONE = "none"


MOST_MIB = {AudioPlace.EMBED: 24, AudioPlace.LINK: 512, AudioPlace.NONE: 0}
"""Of sound by place, unless somebody says otherwise."""


def find(
    run_ids: Sequence[str], dataset: Path | None = None, budget: Sequence[str] = ()
) -> Findings:
    """All that was measured in Runs, judged and compared; the first one is what others are held
    against. `budget` stands for the limits that each Cluster was run with.

    Raises UnknownRun, InvalidBudget, InvalidDataset, and RunsDiffer if `dataset` is not that of
    the Runs as it was.
    """
    from turnlab.server.setup import open_database

    open_database()
    # Only now: the models cannot be imported before the settings are known.
    from turnlab.server.annotations import judge_scores
    from turnlab.server.measured import load
    from turnlab.server.runs import get_run

    limits = parse_limits(budget)
    runs = list({run.id: run for run in map(get_run, run_ids)}.values())
    measured = load([run.id for run in runs], dataset_of(runs, dataset))
    scores = judge_scores([run.id for run in runs])
    comparisons, why = compared(runs, measured)
    return Findings(
        runs=runs,
        measured=measured,
        judgements=[
            judgement
            for each in measured
            for judgement in judge(each, limits or _own_limits(each, runs))
        ],
        comparisons=comparisons,
        not_compared=why,
        scores=scores if scores.judge else None,
    )


def dataset_of(runs: Sequence[Run], folder: Path | None) -> Dataset | None:
    """The dataset in a folder, if one is named. Raises InvalidDataset, and RunsDiffer if it is not
    that of the Runs as it was."""
    if folder is None:
        return None
    found = Dataset.load(folder)
    for run in runs:
        if found.content_hash != run.dataset_hash:
            raise RunsDiffer(f"{folder} is not the dataset of {run.id} as it was; leave it out.")
    return found


def _own_limits(measured: Measured, runs: Sequence[Run]) -> list[Limit]:
    """What the Cluster was held to when the Run began."""
    run = next(run for run in runs if run.id == measured.subject.run_id)
    pinned = run.pins.get("clusters", {}).get(measured.subject.cluster, {})
    return list(parse_limits(pinned.get("budget", ())))


@dataclass
class Teller:
    """Tells Tracks with their sound, until there is too much of it."""

    place: AudioPlace
    page: Path | None
    """The page that the sound belongs to; None where there is none."""
    most_bytes: int
    without_sound: int = 0
    """Tracks that were told when there was no room left."""
    _spent: int = 0
    _written: set[str] = field(default_factory=set)

    def __call__(self, track_ids: Sequence[str]) -> Iterator[TurnReport]:
        """The full reports of the Tracks, in their order. Raises OutputFailed."""
        from turnlab.server.measured import turn_reports

        if self.page is None or self.place is AudioPlace.NONE:
            yield from turn_reports(track_ids)
            return
        for start in range(0, len(track_ids), _AT_ONCE):
            room = self._spent < self.most_bytes
            some = turn_reports(track_ids[start : start + _AT_ONCE], sounds=room)
            self.without_sound += 0 if room else len(some)
            yield from map(self._placed, some)

    def _placed(self, turn: TurnReport) -> TurnReport:
        size = len(turn.question_wav or b"") + len(turn.reply_wav or b"")
        if not size:
            return turn
        if self._spent + size > self.most_bytes:
            self.without_sound += 1
            return replace(turn, question_wav=None, reply_wav=None)
        if self.place is AudioPlace.EMBED:
            return self._embedded(turn)
        name = turn.label.partition(" (")[0]
        files = (
            self._file(turn.question_wav, name),
            self._file(turn.reply_wav, f"{turn.label}-{turn.mode}-reply"),
        )
        bare = replace(turn, question_wav=None, reply_wav=None)
        return replace(bare, question_file=files[0], reply_file=files[1])

    def _embedded(self, turn: TurnReport) -> TurnReport:
        """With its question only the first of all Tracks that were asked the same."""
        digest = hashlib.sha256(turn.question_wav or b"").hexdigest()
        turn = replace(turn, question_wav=None) if digest in self._written else turn
        self._written.add(digest)
        self._spent += len(turn.question_wav or b"") + len(turn.reply_wav or b"")
        return turn

    def _file(self, wav: bytes | None, what: str) -> str:
        """Where the sound lies, as seen from the page. A question is the same for all Tracks."""
        if not wav or self.page is None:
            return ""
        folder = self.page.with_name(f"{self.page.stem}-sounds")
        plain = re.sub(r"[^A-Za-z0-9]+", "-", what).strip("-")[:60]
        name = f"{plain}-{hashlib.sha256(wav).hexdigest()[:12]}.wav"
        if name not in self._written:
            self._spent += len(wav)
            self._written.add(name)
            _put_sound(folder / name, wav)
        return f"{folder.name}/{name}"


def _put_sound(path: Path, wav: bytes) -> None:
    """Into a folder that nobody else of the machine can look into: it holds people's voices."""
    try:
        make_folder(path.parent)
        path.parent.chmod(0o700)
        path.write_bytes(wav)
    except OSError as error:
        with suppress(OSError):  # it is not empty, or was never made
            path.parent.rmdir()
        raise OutputFailed(f"{path} cannot be written: {error.strerror}.") from error


def make_report(
    found: Findings,
    page: Path | None = None,
    place: AudioPlace = AudioPlace.LINK,
    most_mib: int | None = None,
) -> RunReport:
    """The report, with sound for a `page` that will be written there. Raises OutputFailed."""
    most = MOST_MIB[place] if most_mib is None else most_mib
    teller = Teller(place=place, page=page, most_bytes=most * MEBIBYTE)
    report = run_report(found, teller, most_tracks=0 if page is None else MOST_TRACKS)
    if not teller.without_sound:
        return report
    told = f"The sound of {teller.without_sound:,} Tracks was left out: {most} MiB are full."
    return replace(report, remarks=(*report.remarks, told))


def write_page(report: RunReport, path: Path) -> None:
    """Write the page. Raises OutputFailed."""
    write_text(path, render_run(report))


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8. Raises OutputFailed."""
    _written(path, lambda place: place.write_text(text, encoding="utf-8"))


def check_place(path: Path) -> None:
    """Raise OutputFailed where a file cannot be written; folders that are missing will be made."""
    place = path.absolute()
    nearest = next(each for each in (place, *place.parents) if os.path.lexists(each))
    fits = not place.is_dir() if nearest == place else nearest.is_dir()
    if not fits or not os.access(nearest, os.W_OK):
        raise OutputFailed(f"{path} cannot be written; choose another place for it.")


def put_text(place: Path, text: str) -> None:
    """Print the text where the place is `-`, else write it there. Raises OutputFailed."""
    if place == STDOUT:
        typer.echo(text, nl=False)
    else:
        write_text(place, text)


def _written(path: Path, write: Callable[[Path], object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    except OSError as error:
        raise OutputFailed(f"{path} cannot be written: {error.strerror}.") from error
