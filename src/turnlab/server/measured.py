"""Reads what was measured in Runs into columns, however many Tasks there are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from turnlab.bench.datasets.dataset import Dataset
from turnlab.bench.judging.scores import columns
from turnlab.bench.measuring.accuracy import (
    Transcripts,
    add_accuracy,
    leave_out,
    missing,
    references,
)
from turnlab.bench.measuring.measures import Measured
from turnlab.errors import InvalidDataset
from turnlab.runs import Run
from turnlab.server.annotations import judge_scores
from turnlab.server.gathering import gathered, without_garbage_collection
from turnlab.server.measured_rows import Wanted
from turnlab.server.runs import get_run
from turnlab.server.turn_details import turn_reports

__all__ = ["load", "turn_reports"]


def load(
    run_ids: Sequence[str], dataset: Dataset | None = None, *, clusters: Sequence[str] | None = None
) -> list[Measured]:
    """What was measured in Runs, a Measured for each Cluster and mode of each, warm-ups left out.

    In the order of `run_ids`, within a Run in the order in which they began. `clusters` keeps those
    of these names. Accuracy is measured against `dataset`; where it is None, against the one
    that the Run names, if that is still there and still the same. What replies were judged is
    of the judge who scored last in these Runs. Raises UnknownRun.
    """
    found: list[Measured] = []
    runs = [get_run(each) for each in dict.fromkeys(run_ids)]
    for run in runs:
        with without_garbage_collection():
            found += _measured(run, dataset or same_dataset(run), clusters)
    scores = judge_scores([run.id for run in runs])
    for each in found:
        each.columns |= columns(scores, each.track_ids)
    return found


def _measured(run: Run, dataset: Dataset | str, clusters: Sequence[str] | None) -> list[Measured]:
    """Those of one Run; `dataset` says why there is none where there is none."""
    sorts = references(dataset) if isinstance(dataset, Dataset) else ()
    collector = gathered(run, Wanted(run_id=run.id, clusters=clusters), sorts)
    measured, told = collector.measured(), collector.told
    transcripts = Transcripts() if told.heard and not missing() else None
    for each in measured:
        if isinstance(dataset, Dataset):
            add_accuracy(each, dataset, told, transcripts)
        else:
            leave_out(each, dataset)
    return measured


@lru_cache(maxsize=4)
def _loaded(folder: Path, state: str) -> Dataset:
    """The dataset: its bytes are read and hashed once for all its Runs, while it stays as it is."""
    return Dataset.load(folder)


def _state_of(folder: Path) -> str:
    """A text that changes when any of its files does."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):  # it has gone meanwhile, which loading will tell
            found = path.stat()
            state = f"{path}\0{found.st_ino} {found.st_size} {found.st_mtime_ns}\0"
            digest.update(state.encode(errors="surrogateescape"))
    return digest.hexdigest()


def same_dataset(run: Run) -> Dataset | str:
    """The dataset of a Run if it is still what it was, else why there is none, in words."""
    folder = str(run.asked.get("dataset", ""))
    if not folder or not Path(folder).is_dir():
        return f"the dataset {run.dataset} is no longer at {folder or 'a known place'}"
    try:
        dataset = _loaded(Path(folder), _state_of(Path(folder)))
    except InvalidDataset as error:
        return f"the dataset {run.dataset} can no longer be used: {error.message.splitlines()[0]}"
    if dataset.content_hash != run.dataset_hash:
        return f"the dataset {run.dataset} is not what it was in the Run; it has changed since"
    return dataset
