from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.dataset_parts import png, wav, write_manifest
from turnlab.bench.datasets import manifest as dataset_manifest
from turnlab.bench.datasets.dataset import Dataset, DatasetProblems
from turnlab.errors import InvalidDataset

A: dict[str, Any] = {"id": "a", "audio": "a.wav"}
B: dict[str, Any] = {"id": "b", "audio": "b.wav"}


def problems_of(folder: Path, **how: bool) -> list[str]:
    with pytest.raises(DatasetProblems) as caught:
        Dataset.load(folder, **how)
    assert caught.value.code == "invalid_dataset"
    return list(caught.value.problems)


def problem_of(tmp_path: Path, line: dict[str, Any] | str | bytes) -> str:
    """What is wrong with a manifest of this line."""
    (problem,) = problems_of(write_manifest(tmp_path / "one", line))
    return problem


def hash_of(tmp_path: Path, *lines: dict[str, Any]) -> str:
    return Dataset.load(write_manifest(tmp_path / "one", *lines)).content_hash


# Loading


def test_a_line_says_all_there_is_to_know_of_a_turn(tmp_path: Path) -> None:
    line = {
        "id": "first",
        "audio": "a.wav",
        "transcript": "Wie geht's?",
        "reply": "Gut.",
        "images": ["p.png"],
        "tags": ["short"],
        "conversation": "talk",
        "index": 3,
        "emotion": {"label": "joy", "V": 0.7},
        "passages": ["cats.md"],
        "scores": {"ann": {"helpful": 4}},
        "duration_s": 0.05,
        "speaker": {"age": 33, "é": [1.5, None]},
    }
    dataset = Dataset.load(write_manifest(tmp_path / "talks", line, B))
    first, second = dataset.turns
    assert (dataset.name, dataset.folder) == ("talks", tmp_path / "talks")
    assert first.audio == tmp_path / "talks" / "a.wav"
    assert first.images == (tmp_path / "talks" / "p.png",)
    assert (first.transcript, first.reply, first.tags) == ("Wie geht's?", "Gut.", ("short",))
    assert (first.conversation, first.index) == ("talk", 3)
    assert first.emotion == {"label": "joy", "V": 0.7}
    assert first.passages == ("cats.md",)
    assert first.scores == {"ann": {"helpful": 4.0}}
    assert first.extra == {"speaker": {"age": 33, "é": [1.5, None]}}
    assert first.duration_s == 0.05
    assert (second.transcript, second.passages, second.emotion) == (None, None, None)
    assert (second.scores, second.extra, second.index, second.images) == ({}, {}, 0, ())


def test_turns_of_a_conversation_are_in_the_order_of_the_lines(tmp_path: Path) -> None:
    lines = [{**A, "id": str(n), "conversation": "talk"} for n in range(3)]
    dataset = Dataset.load(write_manifest(tmp_path, *lines))
    assert [turn.index for turn in dataset.turns] == [0, 1, 2]


def test_a_mark_of_byte_order_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    first = b"\xef\xbb\xbf" + json.dumps(A).encode()
    assert len(Dataset.load(write_manifest(tmp_path, first, "", B)).turns) == 2


def test_quick_opens_no_file(tmp_path: Path) -> None:
    folder = write_manifest(tmp_path, {**A, "duration_s": 7}, B)
    (folder / "b.wav").write_bytes(b"no sound")
    dataset = Dataset.load(folder, quick=True)
    assert [turn.duration_s for turn in dataset.turns] == [7, 0]
    assert dataset.content_hash == ""


def test_a_recording_without_a_voice_is_wrong_if_asked_for(tmp_path: Path) -> None:
    folder = write_manifest(tmp_path, A)
    assert Dataset.load(folder).turns
    (problem,) = problems_of(folder, speech=True)
    assert "manifest.jsonl:1: audio: No voice was found" in problem


# The hash


@pytest.mark.parametrize(
    "change",
    [
        {"id": "z"},
        {"audio": "b.wav"},
        {"transcript": "x"},
        {"reply": "x"},
        {"images": ["p.png"]},
        {"conversation": "x"},
        {"index": 1},
        {"emotion": {"label": "joy"}},
        {"passages": []},
        {"scores": {"ann": {"helpful": 4}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_hash_tells_of_all_that_is_read(tmp_path: Path, change: dict[str, Any]) -> None:
    assert hash_of(tmp_path, A) != hash_of(tmp_path, {**A, **change})


def test_the_hash_tells_of_each_byte_of_the_media(tmp_path: Path) -> None:
    folder = write_manifest(tmp_path, {**A, "images": ["p.png"]})
    found = {Dataset.load(folder).content_hash}
    stat = (folder / "a.wav").stat()
    (folder / "a.wav").write_bytes((folder / "a.wav").read_bytes()[:-2] + b"\1\2")
    os.utime(folder / "a.wav", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    found.add(Dataset.load(folder).content_hash)
    (folder / "p.png").write_bytes(png(7))
    found.add(Dataset.load(folder).content_hash)
    assert len(found) == 3


def test_order_names_tags_and_extra_are_no_part_of_the_hash(tmp_path: Path) -> None:
    first = hash_of(tmp_path, A, B)
    folder = write_manifest(tmp_path / "other", B, {**A, "audio": "x.wav", "tags": ["t"], "k": 1})
    (folder / "a.wav").rename(folder / "x.wav")
    assert Dataset.load(folder).content_hash == first


# What is wrong


def test_there_must_be_a_manifest_and_turns(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="There is no folder"):
        Dataset.load(tmp_path / "nowhere")
    with pytest.raises(InvalidDataset, match="turnlab dataset make"):
        Dataset.load(tmp_path)
    assert problems_of(write_manifest(tmp_path)) == ["manifest.jsonl has no turns"]


MANY = ", ".join(f'"{number:x}": 0' for number in range(50_000))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        (b"\xff{}", "not UTF-8"),
        ("[" * 200_000, "nested too deeply"),
        ('{"id": "a", "id": "b", "audio": "a.wav"}', "'id' is there twice"),
        (f"{{{MANY}, {MANY[-9:]}}}", "'c34f' is there twice"),
        ('{"id": "a", "audio": "a.wav", "k": NaN}', "NaN is no number of JSON"),
        ('{"id": "a", "audio": "a.wav", "k": 1e999}', "too large a number"),
        ('{"id": "a", "audio": "a.wav", "k": "\\ud800"}', "half a character"),
        ('{"id": "a", "audio": "a.wav", "k": ' + "1" * 5000 + "}", "no JSON"),
        (b'{"id": "' + b"a" * 2**21 + b'"}', "longer than 1,024 KiB"),
    ],
    ids=range(11),
)
def test_a_line_must_be_an_object_of_json(tmp_path: Path, line: str | bytes, told: str) -> None:
    problem = problem_of(tmp_path, line)
    assert problem.startswith("manifest.jsonl:1: ")
    assert told in problem


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": None}, "id: is missing"),
        ({"id": ""}, "id: '' is no text of 1 to 255"),
        ({"id": 3}, "id: 3 is no text"),
        ({"id": "a\n"}, "id: 'a\\n' is no text"),
        ({"audio": None}, "audio: is missing"),
        ({"audio": 3}, "audio: 3 is no path"),
        ({"transcript": ["x"]}, "transcript: ['x'] is no text"),
        ({"reply": 3}, "reply: 3 is no text"),
        ({"images": "p.png"}, "images: 'p.png' is no list"),
        ({"images": ["p.png"] * 17}, "images: has 17 pictures; at most 16"),
        ({"tags": [1]}, "tags: [1] is no list of texts"),
        ({"tags": ["x"] * 1001}, "tags: has 1,001 entries"),
        ({"conversation": 3}, "conversation: 3 is no text"),
        ({"conversation": "x", "index": "0"}, "index: '0' is no whole number"),
        ({"index": True}, "index: True is no whole number"),
        ({"index": -1}, "index: -1 is no whole number"),
        ({"emotion": "joy"}, "emotion: 'joy' is no object"),
        ({"passages": {}}, "passages: {} is no list"),
        ({"scores": {"ann": 4}}, "scores: {'ann': 4} is not of the form"),
        ({"scores": {"ann": {"good": "4"}}}, "is not of the form"),
        ({"scores": {"a" * 129: {"good": 4}}}, "is no name of 1 to 128 characters"),
        ({"duration_s": 0}, "duration_s: 0 is no number of seconds"),
        ({"duration_s": "0.05"}, "duration_s: '0.05' is no number"),
    ],
)
def test_each_key_takes_one_type(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    assert told in problem_of(tmp_path, {**A, **change})


def test_what_is_wrong_with_a_file_is_told(tmp_path: Path) -> None:
    folder = write_manifest(
        tmp_path,
        {**A, "audio": "gone.wav"},
        {**B, "audio": "p.png", "images": ["a.wav"]},
        {"id": "c", "audio": "c.wav", "duration_s": 0.2},
        {"id": "d", "audio": "empty.wav"},
        {"id": "e", "audio": "silent.wav"},
        {"id": "f", "audio": "."},
        {"id": "g", "audio": "fifo"},
    )
    (folder / "empty.wav").write_bytes(b"")
    (folder / "silent.wav").write_bytes(wav(seconds=0))
    os.mkfifo(folder / "fifo")
    assert problems_of(folder) == [
        "manifest.jsonl:1: audio: there is no file 'gone.wav'",
        "manifest.jsonl:2: audio: 'p.png' is not audio that can be decoded; "
        "give WAV, FLAC, OGG or MP3",
        "manifest.jsonl:2: images: 'a.wav': The picture is neither PNG, JPEG, WebP nor GIF; "
        "convert it",
        "manifest.jsonl:3: duration_s: 'c.wav' is 0.050 s long, not 0.2 s",
        "manifest.jsonl:4: audio: 'empty.wav' is not audio that can be decoded; "
        "give WAV, FLAC, OGG or MP3",
        "manifest.jsonl:5: audio: 'silent.wav' holds no samples; record it again",
        "manifest.jsonl:6: audio: '.' is no file",
        "manifest.jsonl:7: audio: 'fifo' is no file",
    ]


@pytest.mark.parametrize(
    "name",
    ["/etc/hostname", "../a.wav", "x/../../a.wav", "..\\a.wav", "C:/a.wav", "a\0.wav", "link.wav"],
)
def test_no_path_leaves_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.wav").write_bytes(wav())
    folder = write_manifest(tmp_path / "one", {**A, "audio": name})
    (folder / "link.wav").symlink_to(tmp_path / "a.wav")
    (problem,) = problems_of(folder)
    assert problem.startswith("manifest.jsonl:1: audio: ")


def test_a_folder_that_leads_out_is_refused_and_a_link_inside_is_not(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.wav").write_bytes(wav())
    lines = ({**A, "audio": "near/a.wav"}, {**B, "audio": "same.wav"})
    folder = write_manifest(tmp_path / "one", *lines)
    (folder / "same.wav").symlink_to("b.wav")
    (folder / "near").symlink_to(tmp_path / "far")
    (problem,) = problems_of(folder)
    assert "manifest.jsonl:1: audio: 'near/a.wav' leads out of the folder by a link" in problem
    (folder / "round").symlink_to("round")
    write_manifest(folder, {**A, "audio": "round"})
    assert "cannot be looked for" in problems_of(folder)[0]


def test_a_manifest_that_no_memory_would_hold_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_manifest(tmp_path, A, B)
    monkeypatch.setattr(dataset_manifest, "LARGEST", 50)
    (problem,) = problems_of(folder)
    assert problem.startswith("manifest.jsonl is larger than ")


def test_ids_and_places_in_a_conversation_are_unique(tmp_path: Path) -> None:
    place = {"conversation": "talk", "index": 1}
    folder = write_manifest(
        tmp_path, A, {**B, **place}, {**A}, {"id": "c", **place} | {"audio": "c.wav"}
    )
    assert problems_of(folder) == [
        "manifest.jsonl:3: id: 'a' is that of manifest.jsonl:1 too",
        "manifest.jsonl:4: index: manifest.jsonl:2 is turn 1 of 'talk' too",
    ]


def test_a_thousand_errors_are_all_listed_at_once_and_ten_are_shown(tmp_path: Path) -> None:
    wrong: list[dict[str, Any] | str] = [
        {"id": str(n), "audio": f"{n}.wav", "index": "x"} if n % 2 else "{" for n in range(1000)
    ]
    folder = write_manifest(tmp_path, *wrong)
    with pytest.raises(InvalidDataset) as caught:
        Dataset.load(folder)
    assert isinstance(caught.value, DatasetProblems)
    assert len(caught.value.problems) == 1500  # every second line has two
    lines = caught.value.message.splitlines()
    assert lines[0] == f"{folder} has 1,500 errors, of which the first 10 are:"
    assert lines[1].startswith("  manifest.jsonl:1: ")
    assert len(lines) == 12
    assert lines[-1] == f"`turnlab dataset check {folder}` lists them all."
