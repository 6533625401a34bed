from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.dataset_parts import png, wav
from turnlab.bench.datasets.dataset import Dataset, DatasetProblems
from turnlab.bench.datasets.files import Wrong
from turnlab.bench.datasets.make import make_dataset
from turnlab.bench.datasets.writer import Medium, new_dataset
from turnlab.errors import InvalidDataset


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    return folder


def put(folder: Path, **files: bytes | str) -> None:
    """Files by name, of which `__` is a folder and `_` the dot."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_texts_and_pictures_of_the_same_name_go_with_a_recording(
    source: Path, tmp_path: Path
) -> None:
    put(source, a_wav=wav(1), a_txt="\ufeffHello.\n", a_reply_txt="Hi.", a_png=png(), b_wav=wav(2))
    put(source, b_txt=" \n", notes_txt="not of a recording")
    assert make_dataset(source, tmp_path / "out") == 2
    first, second = Dataset.load(tmp_path / "out").turns
    assert (first.id, first.transcript, first.reply) == ("a", "Hello.", "Hi.")
    assert [path.name for path in first.images] == ["a.png"]
    assert first.audio.read_bytes() == wav(1)
    assert (second.id, second.transcript, second.images) == ("b", None, ())


def test_sub_folders_are_conversations_if_asked_for(source: Path, tmp_path: Path) -> None:
    put(source, x__1_wav=wav(1), x__10_wav=wav(2), x__2_wav=wav(3), alone_wav=wav(4))
    make_dataset(source, tmp_path / "apart")
    make_dataset(source, tmp_path / "together", conversations=True)
    apart = Dataset.load(tmp_path / "apart").turns
    together = Dataset.load(tmp_path / "together").turns
    assert {turn.conversation for turn in apart} == {None}
    assert [(turn.id, turn.conversation, turn.index) for turn in together] == [
        ("alone", None, 0),
        ("x/1", "x", 0),
        ("x/2", "x", 1),
        ("x/10", "x", 2),
    ]


def test_recordings_of_one_name_are_told_apart(source: Path, tmp_path: Path) -> None:
    put(source, a_wav=wav(1), a_flac=wav(2), a_txt="Hello.")
    make_dataset(source, tmp_path / "out")
    turns = Dataset.load(tmp_path / "out").turns
    assert {turn.id: turn.transcript for turn in turns} == {"a.wav": "Hello.", "a.flac": "Hello."}


def test_all_that_is_wrong_is_told_and_nothing_is_written(source: Path, tmp_path: Path) -> None:
    put(source, good_wav=wav(), bad_wav=b"no sound", latin_wav=wav(2), latin_txt=b"\xe9t\xe9")
    put(source, pic_wav=wav(3), pic_png=b"no picture", long_wav=wav(4), long_txt="x" * 2**19)
    (tmp_path / "secret.txt").write_text("secret")
    (source / "good.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(DatasetProblems) as caught:
        make_dataset(source, tmp_path / "out")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "bad.wav",
        "good.wav",
        "latin.wav",
        "long.wav",
        "pic.wav",
    ]
    assert "leads out of the folder" in caught.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recordings", "secret.txt"]


def test_there_must_be_recordings_and_a_free_place(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="holds 0 recordings"):
        make_dataset(source, tmp_path / "out")
    put(source, a_wav=wav())
    (tmp_path / "empty").mkdir()
    make_dataset(source, tmp_path / "empty")
    with pytest.raises(InvalidDataset, match="is there already"):
        make_dataset(source, tmp_path / "empty")
    with pytest.raises(InvalidDataset, match="There is no folder"):
        make_dataset(tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize(
    "name",
    ["../out.wav", "/abs.wav", "x/../y.wav", "manifest.jsonl", "a\nb.wav", "é" * 300 + ".wav", ""],
)
def test_whatever_a_file_is_called_it_lies_in_the_folder(tmp_path: Path, name: str) -> None:
    with new_dataset(tmp_path / "out") as writer:
        writer.add({"id": "a"}, Medium(name, wav(1)))
        writer.add({"id": "b"}, Medium(name, wav(2)))
        writer.add({"id": "c"}, Medium(name, wav(1)))
    a, b, c = Dataset.load(tmp_path / "out").turns
    assert a.audio == c.audio != b.audio
    assert b.audio.read_bytes() == wav(2)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_name_that_is_a_folder_elsewhere_gives_way(tmp_path: Path) -> None:
    with new_dataset(tmp_path / "out") as writer:
        for number, name in enumerate(["x", "x/y.wav", "z/y.wav", "z"], 1):
            writer.add({"id": str(number)}, Medium(name, wav(number)))
    turns = Dataset.load(tmp_path / "out").turns
    assert [turn.audio.read_bytes() for turn in turns] == [wav(n) for n in range(1, 5)]


def test_a_line_says_how_long_the_recording_is(tmp_path: Path) -> None:
    with new_dataset(tmp_path / "out") as writer:
        writer.add({"id": "a"}, Medium("a.wav", wav(seconds=0.5)))
    assert json.loads((tmp_path / "out" / "manifest.jsonl").read_text())["duration_s"] == 0.5


def test_a_turn_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    place = {"conversation": "talk", "index": 0}
    with new_dataset(tmp_path / "out") as writer:
        writer.add({"id": "a", **place}, Medium("a.wav", wav(1)))
        for values in ({"id": "a"}, {"id": "b", **place}, {"id": "b", "k": "\ud800"}, {}):
            with pytest.raises(Wrong):
                writer.add(values, Medium("b.wav", wav(2)), [Medium("b.png", png())])
        assert not (tmp_path / "out").exists()
        writer.add({"id": "b", "conversation": "talk"}, Medium("a.wav", wav(1)))
        assert len(writer) == 2
    assert [turn.index for turn in Dataset.load(tmp_path / "out").turns] == [0, 1]
    files = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(files) == ["a.wav", "manifest.jsonl"]
