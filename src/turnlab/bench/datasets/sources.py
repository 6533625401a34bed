"""Hugging Face `datasets` folders on disk: found out what they are, and read as rows.

Taken are what `save_to_disk` writes (Arrow), Parquet files, and an audiofolder (recordings with
a `metadata.csv` or `metadata.jsonl`).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnlab.bench.datasets.files import Finder, Wrong, shown
from turnlab.bench.datasets.manifest import LONGEST_LINE
from turnlab.bench.datasets.metadata import METADATA, kinds_of, read_metadata
from turnlab.bench.datasets.tables import Kind, Tables
from turnlab.errors import InvalidDataset

_SPLIT = re.compile(r"(?:.*[/-])?([A-Za-z][A-Za-z0-9_.]*)-\d{5}-of-\d{5}[^/]*\.parquet")
_SPLITS = ("train", "validation", "test", "dev")


@dataclass(frozen=True)
class Source:
    """A table that can be read."""

    folder: Path
    """What paths in it are relative to."""
    kinds: Mapping[str, Kind]
    """The columns, and what they hold."""
    rows: Callable[[], Iterator[dict[str, Any]]]
    info: Mapping[str, Any] = field(default_factory=dict)
    """What the library says of it: `features`, `description`, `license`, `citation`."""


def open_source(folder: Path, split: str | None = None) -> Source:
    """The dataset in `folder`, of which `split` where it has several.

    Raises InvalidDataset, MissingPackage.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise InvalidDataset(f"There is no folder {folder}; give one that `datasets` has written.")
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder, "dataset_dict.json").get("splits")
        names = splits if isinstance(splits, list) else []
        return _saved(_inside(folder, _chosen(folder, list(map(str, names)), split)))
    if (folder / "state.json").is_file():
        _no_splits(folder, split)
        return _saved(folder)
    if tables := _parquet(folder):
        return _of_tables(folder, tables[_chosen(folder, list(tables), split)])
    return _audiofolder(folder, split)


def _chosen(folder: Path, splits: Sequence[str], split: str | None) -> str:
    """The split that was asked for, or the only one."""
    if split is None and len(splits) == 1:
        return splits[0]
    if split is None or split not in splits:
        asked = "has several splits" if split is None else f"has no split {shown(split)}"
        raise InvalidDataset(
            f"{folder} {asked}; give --split with one of: {', '.join(sorted(splits)[:20])}."
        )
    return split


def _no_splits(folder: Path, split: str | None) -> None:
    if split is not None:
        raise InvalidDataset(f"{folder} has no splits; leave --split out.")


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_dir():
        raise InvalidDataset(f"The split {shown(name)} is no folder in {folder}.")
    return path


def _find(folder: Path, name: Any) -> Path:
    try:
        return Finder(folder).find(str(name))
    except Wrong as error:
        raise InvalidDataset(f"{folder}: {error}.") from error


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = _find(folder, name)
    try:
        if path.stat().st_size > 16 * LONGEST_LINE:
            raise ValueError("it is too large")
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidDataset(f"{path} cannot be read ({error!s:.200}).") from error
    if not isinstance(values, dict):
        raise InvalidDataset(f"{path} is no JSON object.")
    return values


def _saved(folder: Path) -> Source:
    """What `save_to_disk` has written."""
    state = _json(folder, "state.json")
    if state.get("_indices_data_files"):
        raise InvalidDataset(f"{folder} is a selection; save it again after flatten_indices().")
    files = state.get("_data_files")
    names = [each.get("filename") for each in files or () if isinstance(each, dict)]
    if not names:
        raise InvalidDataset(f"{folder}/state.json names no files.")
    source = _of_tables(folder, [_find(folder, name) for name in names])
    if (folder / "dataset_info.json").is_file():
        info = _json(folder, "dataset_info.json")
        return Source(source.folder, source.kinds, source.rows, {**source.info, **info})
    return source


def _of_tables(folder: Path, files: Sequence[Path]) -> Source:
    tables = Tables(files)
    return Source(folder, tables.kinds, tables.rows, tables.info)


def _parquet(folder: Path) -> dict[str, list[Path]]:
    """The Parquet files, by split."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*.parquet")):
        name = path.relative_to(folder).as_posix()
        found[_split_of(name)].append(_find(folder, name))
    return dict(found)


def _split_of(name: str) -> str:
    """Of `data/train-00000-of-00001.parquet`, `train/0000.parquet` or `train.parquet`: train."""
    if match := _SPLIT.fullmatch(name):
        return match[1]
    *folders, last = name.removesuffix(".parquet").split("/")
    return next((part for part in (last, *reversed(folders)) if part in _SPLITS), "train")


def _audiofolder(folder: Path, split: str | None) -> Source:
    here = [folder / name for name in METADATA if (folder / name).is_file()]
    if not here:
        below = {path.parent.name: path for name in METADATA for path in folder.glob(f"*/{name}")}
        if not below:
            raise InvalidDataset(
                f"{folder} is nothing that `datasets` writes: there is no dataset_dict.json, "
                f"state.json, Parquet file, {' or '.join(METADATA)} in it. `turnlab dataset make` "
                "takes a folder of recordings."
            )
        here = [below[_chosen(folder, list(below), split)]]
    else:
        _no_splits(folder, split)
    base = here[0].parent
    path = _find(base, here[0].name)
    rows = read_metadata(path)
    return Source(base, kinds_of(rows), lambda: iter(rows))


__all__ = ["Kind", "Source", "open_source"]
