"""Datasets as the Hugging Face `datasets` library saves them: `load_from_disk` reads the folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from turnlab.bench.datasets.columns import OWN
from turnlab.bench.datasets.dataset import Dataset, DatasetTurn
from turnlab.bench.datasets.tables import require_pyarrow
from turnlab.bench.datasets.writer import new_folder

BATCH_BYTES = 64 * 2**20
"""Bytes of media that are in memory together, if no single one is larger."""

SHARD_BYTES = 500 * 10**6
"""From which on another file is begun, as the library does."""


def _value(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "_type": "Value"}


def _several(feature: Mapping[str, Any]) -> dict[str, Any]:
    # Releases of the library before 4 know no "List", later ones know both.
    return {"feature": feature, "_type": "Sequence"}


FEATURES: Mapping[str, Mapping[str, Any]] = {
    "id": _value("string"),
    "audio": {"_type": "Audio"},
    "transcript": _value("string"),
    "reply": _value("string"),
    "images": _several({"_type": "Image"}),
    "tags": _several(_value("string")),
    "conversation": _value("string"),
    "index": _value("int64"),
    "passages": _several(_value("string")),
    "duration_s": _value("float64"),
    OWN: _value("string"),
}
"""The columns; what differs from turn to turn (`emotion`, `scores`, `extra`) is in the last."""


def export_dataset(dataset: Dataset, out: Path) -> int:
    """Write the dataset to `out` as `save_to_disk` does, media included; how many turns.

    Raises InvalidDataset if `out` is there already, MissingPackage without the extra [datasets].
    """
    require_pyarrow()
    with new_folder(out) as folder:
        parts = _write_shards(folder, dataset)
        names = [f"data-{n:05d}-of-{parts:05d}.arrow" for n in range(parts)]
        for number, name in enumerate(names):
            _part(folder, number).rename(folder / name)
        _write_json(folder / "dataset_info.json", _info(dataset))
        _write_json(folder / "state.json", _state(names, dataset.content_hash))
    return len(dataset.turns)


def _part(folder: Path, number: int) -> Path:
    return folder / f"{number}.part"


def _write_shards(folder: Path, dataset: Dataset) -> int:
    """Files of about `SHARD_BYTES`; how many."""
    import pyarrow as pa

    schema = _schema()
    rows = _batches(dataset)
    number, batch = 0, next(rows, [])
    while True:
        with (
            pa.OSFile(str(_part(folder, number)), "wb") as file,
            pa.ipc.new_stream(file, schema) as writer,
        ):
            while batch and file.tell() < SHARD_BYTES:
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
                batch = next(rows, [])
        number += 1
        if not batch:
            return number


def _batches(dataset: Dataset) -> Iterator[list[dict[str, Any]]]:
    """Rows, in lots that fit in memory."""
    rows: list[dict[str, Any]] = []
    held = 0
    for turn in dataset.turns:
        row = _row(turn, dataset.folder)
        size = sum(len(medium["bytes"]) for medium in (row["audio"], *row["images"]))
        if rows and held + size > BATCH_BYTES:
            yield rows
            rows, held = [], 0
        rows.append(row)
        held += size
    if rows:
        yield rows


def _row(turn: DatasetTurn, folder: Path) -> dict[str, Any]:
    kept = {"scores": turn.scores} if turn.scores else {}
    if turn.emotion is not None:
        kept["emotion"] = turn.emotion
    return {
        "id": turn.id,
        "audio": _medium(turn.audio, folder),
        "transcript": turn.transcript,
        "reply": turn.reply,
        "images": [_medium(path, folder) for path in turn.images],
        "tags": list(turn.tags),
        "conversation": turn.conversation,
        "index": turn.index,
        "passages": None if turn.passages is None else list(turn.passages),
        "duration_s": turn.duration_s,
        OWN: json.dumps(kept | {"extra": turn.extra}, ensure_ascii=False, allow_nan=False),
    }


def _medium(path: Path, folder: Path) -> dict[str, Any]:
    return {"bytes": path.read_bytes(), "path": path.relative_to(folder).as_posix()}


def _schema() -> Any:
    import pyarrow as pa

    medium = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}

    def type_of(feature: Mapping[str, Any]) -> Any:
        if feature["_type"] == "Sequence":
            return pa.list_(type_of(feature["feature"]))
        return types[feature["dtype"]] if feature["_type"] == "Value" else medium

    fields = [(name, type_of(feature)) for name, feature in FEATURES.items()]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})})


def _info(dataset: Dataset) -> dict[str, Any]:
    return {
        "citation": "",
        "description": f"{dataset.name}: {len(dataset.turns)} turns, exported by Turnlab.",
        "features": FEATURES,
        "homepage": "",
        "license": "",
    }


def _state(names: Iterable[str], content_hash: str) -> dict[str, Any]:
    return {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": content_hash[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
