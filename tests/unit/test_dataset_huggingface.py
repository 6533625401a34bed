from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.dataset_parts import png, wav, write_manifest
from turnlab.bench.datasets import huggingface as dataset_huggingface
from turnlab.bench.datasets.dataset import Dataset, DatasetProblems, DatasetTurn
from turnlab.bench.datasets.huggingface import export_dataset
from turnlab.bench.datasets.importing import import_dataset
from turnlab.bench.datasets.keys import KEYS
from turnlab.errors import InvalidDataset, InvalidRequest, MissingPackage

SAVED = Path(__file__).parents[1] / "data" / "huggingface"
"""What the `datasets` library, version 5.2.0, has saved: see make.py there."""

MEDIUM = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def imported(source: Path, **how: Any) -> list[DatasetTurn]:
    out = Path(tempfile.mkdtemp(dir=source.parent)) / "out"
    import_dataset(source, out, **how)
    return list(Dataset.load(out).turns)


def save(folder: Path, table: pa.Table, *, name: str = "data.arrow") -> Path:
    """As `save_to_disk` does."""
    folder.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    return folder


def sounds(*numbers: int) -> pa.Array:
    return pa.array([{"bytes": wav(n), "path": f"{n}.wav"} for n in numbers], MEDIUM)


# There and back

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAME = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
KNOWN = {
    "transcript": TEXT,
    "reply": TEXT,
    "images": st.lists(st.sampled_from(["p.png", "q/p.png"]), max_size=2),
    "tags": st.lists(TEXT, max_size=2),
    "index": st.integers(0, 999_999),
    "emotion": st.dictionaries(TEXT, JSON, max_size=2),
    "passages": st.lists(TEXT, max_size=2),
    "scores": st.dictionaries(NAME, st.dictionaries(TEXT, st.integers(0, 5), max_size=2)),
}
LINE = st.tuples(
    st.fixed_dictionaries(
        {"audio": st.sampled_from(["a.wav", "b.wav", "q/c.flac"])}, optional=KNOWN
    ),
    st.dictionaries(TEXT.filter(lambda key: key not in KEYS), JSON, max_size=3),
    st.none() | NAME,
)


def known(dataset: Dataset) -> list[dict[str, Any]]:
    """All that is known of the turns, with the bytes and the names of their media."""
    return [
        {
            **dataclasses.asdict(turn),
            "audio": (turn.audio.relative_to(dataset.folder), turn.audio.read_bytes()),
            "images": [(p.relative_to(dataset.folder), p.read_bytes()) for p in turn.images],
        }
        for turn in dataset.turns
    ]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(LINE, min_size=1, max_size=4))
def test_export_and_import_lose_nothing(
    tmp_path: Path, lines: list[tuple[dict[str, Any], dict[str, Any], str | None]]
) -> None:
    shutil.rmtree(tmp_path)
    turns = []
    for number, (line, extra, conversation) in enumerate(lines):
        place = {} if conversation is None else {"conversation": conversation, "index": number}
        turns.append({"id": f"turn {number}", **line, **extra, **place})
    folder = write_manifest(tmp_path / "first", *turns)
    (folder / "q").mkdir()
    (folder / "q" / "p.png").write_bytes(png(9))
    (folder / "q" / "c.flac").write_bytes(wav(9))
    before = Dataset.load(folder)
    export_dataset(before, tmp_path / "exported")
    import_dataset(tmp_path / "exported", tmp_path / "second")
    after = Dataset.load(tmp_path / "second")
    assert known(after) == known(before)
    assert after.content_hash == before.content_hash


def test_a_large_dataset_becomes_several_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_huggingface, "SHARD_BYTES", 4000)
    monkeypatch.setattr(dataset_huggingface, "BATCH_BYTES", 1)
    lines = [{"id": str(n), "audio": "abcd"[n % 4] + ".wav"} for n in range(20)]
    before = Dataset.load(write_manifest(tmp_path / "first", *lines))
    export_dataset(before, tmp_path / "exported")
    names = sorted(path.name for path in (tmp_path / "exported").glob("*.arrow"))
    assert len(names) > 3
    assert names[0] == f"data-00000-of-{len(names):05d}.arrow"
    import_dataset(tmp_path / "exported", tmp_path / "second")
    assert known(Dataset.load(tmp_path / "second")) == known(before)


# What the library has saved


@pytest.mark.parametrize("split", ["train", "test"])
def test_what_the_library_saves_is_read(tmp_path: Path, split: str) -> None:
    out = tmp_path / "out"
    import_dataset(SAVED / "saved", out, split=split)
    dataset = Dataset.load(out)
    first = {turn.id: turn for turn in dataset.turns}["clip_1"]
    assert len(dataset.turns) == {"train": 3, "test": 1}[split]
    assert first.transcript == "number 1 é"
    assert len(first.images) == 1
    assert first.extra == {
        "label": "happy",
        "when": "2026-01-01T01:00:00",
        "words": [{"w": "a", "start": 0.25}],
        "speaker_id": 1,
    }
    kept = json.loads((out / "huggingface.json").read_text())
    assert kept["features"]["label"]["names"] == ["angry", "happy"]
    assert kept["license"] == "CC0"


def test_its_parquet_files_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "parquet"
    shutil.copytree(SAVED / "parquet", folder)
    with pytest.raises(InvalidDataset, match="several splits; give --split with one of: test, tr"):
        imported(folder)
    with pytest.raises(InvalidDataset, match="has no split 'dev'"):
        imported(folder, split="dev")
    assert [turn.transcript for turn in imported(folder, split="test")] == ["number 1 é"]
    assert [turn.extra["label"] for turn in imported(folder, split="train")] == [
        "angry",
        "happy",
        "angry",
    ]


# Columns


def test_a_column_that_no_key_takes_is_kept(tmp_path: Path) -> None:
    table = pa.table(
        {
            "audio": sounds(1, 2),
            "id": [7, 8],
            "sentence": ["one", None],
            "text": ["1", "2"],
            "conversation_id": [3, 3],
            "tags": ["no", "list"],
            "emotion": ["joy", None],
            "at": pa.array([1, 2], pa.timestamp("ns")),
            "day": pa.array([datetime(2026, 1, 2, tzinfo=UTC)] * 2, pa.timestamp("s", "UTC")),
            "money": [Decimal("1.50"), None],
            "raw": [b"\x00\xff", b""],
            "odd": [float("nan"), float("inf")],
        }
    )
    first, second = imported(save(tmp_path / "saved", table))
    assert (first.id, first.transcript, first.emotion) == ("7", "1", {"label": "joy"})
    assert [(t.conversation, t.index) for t in (first, second)] == [("3", 0), ("3", 1)]
    assert first.extra == {
        "sentence": "one",
        "source_tags": "no",
        "at": "1970-01-01 00:00:00.000000001",
        "day": "2026-01-02T00:00:00+00:00",
        "money": "1.50",
        "raw": {"base64": "AP8="},
        "odd": "nan",
    }
    assert (second.extra["odd"], second.extra["sentence"], second.emotion) == ("inf", None, None)


def test_a_column_can_be_said_or_left_out(tmp_path: Path) -> None:
    table = pa.table(
        {"audio": sounds(1), "speech": sounds(2), "text": ["a"], "said": ["b"], "id": ["x"]}
    )
    folder = save(tmp_path / "saved", table)
    with pytest.raises(InvalidDataset, match="no place for the sounds or pictures of speech"):
        imported(folder)
    asked = {"audio": "speech", "transcript": "said", "id": ""}
    (turn,) = imported(folder, columns=asked, drop=["audio"])
    assert turn.audio.read_bytes() == wav(2)
    assert (turn.id, turn.transcript) == ("2", "b")
    assert turn.extra == {"text": "a", "source_id": "x"}
    for wrong in ({"nonsense": "text"}, {"reply": "nowhere"}, {"index": "audio"}):
        with pytest.raises(InvalidRequest):
            imported(folder, columns=wrong, drop=["speech"])
    with pytest.raises(InvalidRequest):
        imported(folder, drop=["nowhere"])
    with pytest.raises(InvalidDataset, match="No column holds recordings"):
        imported(folder, columns={"audio": ""}, drop=["audio", "speech"])


def test_sounds_come_as_bytes_as_samples_or_as_files_beside(tmp_path: Path) -> None:
    samples = (0.1 * np.sin(np.arange(800) / 7)).tolist()
    array = [{"array": samples, "sampling_rate": 16_000, "path": None}]
    (turn,) = imported(save(tmp_path / "samples", pa.table({"audio": array})))
    assert soundfile.read(turn.audio)[0].tolist() == samples
    file = io.BytesIO()
    soundfile.write(file, np.array(samples), 16_000, format="FLAC")
    (turn,) = imported(save(tmp_path / "bytes", pa.table({"audio": [file.getvalue()]})))
    assert (turn.audio.name, turn.audio.read_bytes()) == ("000001.flac", file.getvalue())
    beside = save(tmp_path / "beside", pa.table({"audio": pa.array([{"path": "x/a.wav"}], MEDIUM)}))
    (beside / "x").mkdir()
    (beside / "x" / "a.wav").write_bytes(wav(5))
    (turn,) = imported(beside)
    assert turn.audio.read_bytes() == wav(5)


# An audiofolder


def test_an_audiofolder_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "clips").mkdir(parents=True)
    for number in (1, 2):
        (folder / "clips" / f"{number}.wav").write_bytes(wav(number))
    lines = [
        "file_name,transcription,turn_index,speaker",
        'clips/1.wav,"Hello, you.",0,007',
        "clips/2.wav,,1,",
    ]
    (folder / "metadata.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    first, second = imported(folder)
    assert (first.id, first.transcript, first.index) == ("1", "Hello, you.", 0)
    assert first.extra == {"speaker": "007"}
    assert (second.transcript, second.index, second.extra) == (None, 1, {"speaker": None})


def test_an_audiofolder_may_have_splits_and_lists(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        (tmp_path / "folder" / name / "1.wav").write_bytes(wav())
        line = {"file_name": "1.wav", "text": name, "tags": ["x"], "scores": {"ann": {"good": 3}}}
        (tmp_path / "folder" / name / "metadata.jsonl").write_text(json.dumps(line))
    with pytest.raises(InvalidDataset, match="--split"):
        imported(tmp_path / "folder")
    (turn,) = imported(tmp_path / "folder", split="test")
    assert (turn.transcript, turn.tags, turn.scores) == ("test", ("x",), {"ann": {"good": 3.0}})


# What is wrong


def test_all_rows_that_are_wrong_are_told_and_nothing_is_written(tmp_path: Path) -> None:
    rows = [
        {"bytes": b"no sound", "path": "a.wav"},
        {"bytes": None, "path": None},
        {"bytes": None, "path": "/etc/hostname"},
        {"bytes": None, "path": "../secret.wav"},
        {"bytes": wav(), "path": "fine.wav"},
        None,
    ]
    (tmp_path / "secret.wav").write_bytes(wav())
    table = pa.table({"audio": pa.array(rows, MEDIUM), "id": ["same"] * 6})
    folder = save(tmp_path / "saved", table)
    with pytest.raises(DatasetProblems) as caught:
        import_dataset(folder, tmp_path / "out")
    told = [problem.partition(": ")[0] for problem in caught.value.problems]
    assert told == ["row 1", "row 2", "row 3", "row 4", "row 6"]
    assert "leads out of the folder" in caught.value.problems[3]
    assert not (tmp_path / "out").exists()


def test_a_hostile_name_stays_in_the_folder(tmp_path: Path) -> None:
    names = ["../../evil.wav", "/etc/evil.wav", "manifest.jsonl", "a\\..\\b.wav", "x/../../y.wav"]
    rows = [{"bytes": wav(n), "path": name} for n, name in enumerate(names, 1)]
    own = ['{"extra": {}}'] * len(rows)
    table = pa.table({"audio": pa.array(rows, MEDIUM), "turnlab_json": own})
    turns = imported(save(tmp_path / "saved", table))
    assert [turn.audio.read_bytes() for turn in turns] == [wav(n) for n in range(1, 6)]
    assert {path.name for path in tmp_path.iterdir() if path.suffix} == set()


@pytest.mark.parametrize(
    "state",
    [
        "{",
        "[]",
        "{}",
        '{"_data_files": [{"filename": "../other.arrow"}]}',
        '{"_data_files": [{"filename": "/etc/hostname"}]}',
        '{"_data_files": [{"filename": "gone.arrow"}]}',
        '{"_data_files": [{"filename": "broken.arrow"}]}',
        '{"_data_files": [{"filename": "data.arrow"}], "_indices_data_files": [{}]}',
        '{"_data_files": [{"filename": "data.arrow"}, {"filename": "other.arrow"}]}',
    ],
)
def test_a_saved_folder_that_is_damaged_is_refused(tmp_path: Path, state: str) -> None:
    table = pa.table({"audio": sounds(1)})
    save(tmp_path, table, name="other.arrow")
    folder = save(tmp_path / "saved", table)
    save(folder, pa.table({"other": [1]}), name="other.arrow")
    whole = (folder / "data.arrow").read_bytes()
    (folder / "broken.arrow").write_bytes(whole[: len(whole) // 2])
    (folder / "state.json").write_text(state)
    with pytest.raises(InvalidDataset):
        imported(folder)


def test_bytes_that_are_turned_over_do_no_harm(tmp_path: Path) -> None:
    folder = save(tmp_path / "saved", pa.table({"audio": sounds(1, 2), "text": ["a", "b"]}))
    whole = (folder / "data.arrow").read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 60):
        (folder / "data.arrow").write_bytes(
            whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        )
        with contextlib.suppress(InvalidDataset):
            assert len(imported(folder)) <= 2


def test_what_is_no_folder_of_the_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="There is no folder"):
        imported(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidDataset, match="is nothing that `datasets` writes"):
        imported(tmp_path / "empty")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(InvalidDataset, match="cannot be read"):
        imported(tmp_path)
    pq.write_table(pa.table({"audio": sounds(1)}), tmp_path / "text.parquet")
    assert len(imported(tmp_path)) == 1
    with pytest.raises(InvalidDataset, match="has no splits"):
        imported(save(tmp_path / "saved", pa.table({"audio": sounds(1)})), split="train")


def test_without_pyarrow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackage, match=r"pip install 'turnlab\[datasets\]'"):
        imported(SAVED / "saved", split="test")
    line = {"id": "a", "audio": "a.wav"}
    with pytest.raises(MissingPackage):
        export_dataset(Dataset.load(write_manifest(tmp_path, line)), tmp_path / "out")
