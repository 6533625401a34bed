"""Datasets made of a folder of recordings, with texts and pictures of the same name beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from turnlab.bench.datasets.files import Finder, Wrong, shown
from turnlab.bench.datasets.keys import MOST_TURNS
from turnlab.bench.datasets.manifest import LONGEST_LINE, DatasetProblems
from turnlab.bench.datasets.writer import Medium, new_dataset
from turnlab.errors import InvalidDataset

RECORDINGS = (".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
PICTURES = (".gif", ".jpeg", ".jpg", ".png", ".webp")

_TEXTS = {"transcript": ".txt", "reply": ".reply.txt"}


def make_dataset(source: Path, out: Path, *, conversations: bool = False) -> int:
    """Make a dataset in `out` of the recordings in `source` and its folders; how many turns.

    `NAME.txt` is the transcript of `NAME.wav`, `NAME.reply.txt` a reply that would be right,
    `NAME.png` a picture. With `conversations` the recordings of a sub-folder are the turns of one
    Conversation, in the order of their names. Files whose name begins with a dot are left out.

    Raises InvalidDataset; all that is wrong is in its `problems`.
    """
    source = Path(source).absolute()
    if not source.is_dir():
        raise InvalidDataset(f"There is no folder {source}; give one with recordings.")
    files = list(_files(source))
    recordings = [name for name in files if name.lower().endswith(RECORDINGS)]
    if not 0 < len(recordings) <= MOST_TURNS:
        raise InvalidDataset(
            f"{source} holds {len(recordings):,} recordings ({', '.join(RECORDINGS)}); a dataset "
            f"has 1 to {MOST_TURNS:,}."
        )
    problems: list[str] = []
    with new_dataset(out) as writer:
        maker = _Maker(source, set(files), recordings)
        for name in recordings:
            try:
                writer.add(maker.values(name, conversations), *maker.media(name))
            except Wrong as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise DatasetProblems.of(source, problems)
    return len(writer)


def _files(source: Path) -> Iterator[str]:
    """Names of all files, folder after folder, numbers in names in the order of their values."""
    names = [path.relative_to(source).as_posix() for path in source.rglob("*") if not path.is_dir()]
    shown_ones = (name for name in names if not any(p.startswith(".") for p in name.split("/")))
    return iter(sorted(shown_ones, key=_natural))


def _natural(name: str) -> tuple[Any, ...]:
    """A key by which `2.wav` comes before `10.wav`, and a folder's files stay together."""
    folder, _, last = name.rpartition("/")
    return (*map(_parts, (folder, last)), name)


def _parts(text: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(p), "") if p.isdecimal() else (-1, p) for p in _DIGITS.split(text))


_DIGITS = re.compile(r"([0-9]{1,18})")


class _Maker:
    """What is known of each recording of a folder."""

    def __init__(self, source: Path, files: set[str], recordings: list[str]) -> None:
        self._source = source
        self._files = files
        self._finder = Finder(source)
        self._stems = Counter(map(_stem, recordings))
        self._places: Counter[str] = Counter()

    def values(self, name: str, conversations: bool) -> dict[str, Any]:
        """The line of the manifest. Raises Wrong."""
        stem = _stem(name)
        # Two recordings of one name, such as a.wav and a.flac, keep what tells them apart.
        values: dict[str, Any] = {"id": stem if self._stems[stem] == 1 else name}
        for key, suffix in _TEXTS.items():
            if text := self._text(stem + suffix):
                values[key] = text
        folder = name.rpartition("/")[0]
        if conversations and folder:
            values |= {"conversation": folder, "index": self._places[folder]}
            self._places[folder] += 1
        return values

    def media(self, name: str) -> tuple[Medium, list[Medium]]:
        """The recording and the pictures of its name. Raises Wrong."""
        stem = _stem(name)
        pictures = [stem + suffix for suffix in PICTURES if stem + suffix in self._files]
        audio, *images = (Medium(each, self._finder.find(each)) for each in [name, *pictures])
        return audio, images

    def _text(self, name: str) -> str:
        if name not in self._files:
            return ""
        with self._finder.find(name).open("rb") as file:
            data = file.read(LONGEST_LINE // 4 + 1)
        if len(data) > LONGEST_LINE // 4:
            raise Wrong(f"{shown(name)} is longer than {LONGEST_LINE // 4096} KiB")
        try:
            return data.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise Wrong(f"{shown(name)} is not UTF-8; save it again") from None


def _stem(name: str) -> str:
    return name.rpartition(".")[0]
