"""How well each modality of emotion_detection ranks angry and sad below neutral below happy.

`python -m benchmarks.emotion_accuracy [--voices FOLDER] [--faces FOLDER] [--json FILE]`. Words:
sixty sentences written for this. Voice: what actors say in the game Hedgewars, FOLDER being its
`Sounds/voices`. Face: portraits in `tests/data/emotion`, and the happy and sad faces of jsPsych 6,
FOLDER being its `examples/img`. All together: a sentence, a clip and, where there is one, a face of
the same label, put together by chance. docs/explanation/emotion.md says how to get the folders.

The figure is a share of pairs: of all pairs of different rank, how many are in the right order; 0.5
is chance. Its p-value is that of shuffled labels, its interval that of draws (bootstrap), both by
speaker for the voice.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.journal import hardware
from benchmarks.parts.emotion_data import HELD_OUT, SENTENCES, TRIED, clips, pictures, samples
from benchmarks.voice_to_voice import RECORDINGS_FOLDER, SUFFIXES
from turnlab.audio import open_image
from turnlab.emotions.acoustics import Meter
from turnlab.emotions.face import Faces
from turnlab.emotions.fusion import fused
from turnlab.emotions.judgement import Judgement
from turnlab.emotions.voice import judge_voice
from turnlab.emotions.words import Words
from turnlab.modules.emotion_detection import EmotionDetection
from turnlab.packaged import packaged

DRAWS = 2_000
VALENCE = {"angry": 0, "sad": 0, "neutral": 1, "happy": 2}
READ = ("beckett.wav", "endgame_nagg_nell.wav", "two_cities.wav")
AROUSAL = {"sad": 0, "neutral": 0, "angry": 1, "happy": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One input: its label, who made it, and what was found (nothing: it could not be judged)."""

    label: str
    group: str
    found: Judgement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How well the values of some inputs follow their rank."""

    what: str
    n: int
    pairs: float
    low: float
    high: float
    p: float


def order(
    what: str,
    items: list[Judged],
    ranks: Mapping[str, int],
    value: Callable[[Judgement], float] = lambda judgement: judgement.value,
) -> Order | None:
    """The figure over the items whose labels have a rank; None if only one rank is there."""
    known = [item for item in items if item.found and item.label in ranks]
    rank = np.array([ranks[item.label] for item in known])
    if len(set(rank)) < 2:
        return None
    values = np.array([value(item.found) for item in known if item.found])
    groups = np.unique([item.group for item in known], return_inverse=True)[1]
    draw = np.random.default_rng(1)
    pairs = _in_order(rank, values)
    shuffled = [_in_order(_shuffled(rank, groups, draw), values) for _ in range(DRAWS)]
    drawn = [_in_order(rank[at], values[at]) for at in _drawn(groups, draw)]
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    beaten = sum(other >= pairs for other in shuffled)
    p = (beaten + 1) / (DRAWS + 1)
    return Order(what=what, n=len(known), pairs=pairs, low=float(low), high=float(high), p=p)


def _in_order(rank: NDArray[Any], values: NDArray[Any]) -> float:
    """Share of the pairs of different rank whose values are in the same order; ties count half."""
    above = rank[:, None] > rank[None, :]
    sign = np.sign(values[:, None] - values[None, :])
    return float(np.mean((sign[above] + 1) / 2)) if above.any() else float("nan")


def _shuffled(rank: NDArray[Any], groups: NDArray[Any], draw: np.random.Generator) -> NDArray[Any]:
    """The ranks dealt out anew within each group."""
    keys = np.lexsort((draw.random(len(rank)), groups))
    dealt = rank.copy()
    dealt[np.argsort(groups, kind="stable")] = rank[keys]
    return dealt


def _drawn(groups: NDArray[Any], draw: np.random.Generator) -> Iterator[NDArray[Any]]:
    """Indices of as many groups, drawn with replacement; of items where there is one group."""
    if len(set(groups)) == 1:
        yield from (draw.integers(0, len(groups), len(groups)) for _ in range(DRAWS))
        return
    members = [np.flatnonzero(groups == group) for group in sorted(set(groups))]
    for _ in range(DRAWS):
        yield np.concatenate([members[at] for at in draw.integers(0, len(members), len(members))])


def voice(path: Path) -> Judgement | None:
    """What the voice of a recording tells."""
    meter = Meter()
    meter.hear(samples(path))
    acoustics = meter.acoustics()
    return judge_voice(acoustics) if acoustics else None


def excitement(judgement: Judgement) -> float:
    """How much rather angry or happy than sad."""
    confidences = judgement.confidences
    return confidences["angry"] + confidences["happy"] - confidences["sad"]


def together(said: list[Judged], heard: list[Judged], seen: list[Judged]) -> list[Judged]:
    """For each clip a sentence and a face of its label, by chance, judged as one."""
    params = EmotionDetection.check_params({}).model_dump()
    weights = {"T": params["words"], "A": params["voice"], "V": params["face"]}
    draw = np.random.default_rng(1)
    found = []
    for clip in heard:
        parts = {"A": clip.found}
        for name, others in (("T", said), ("V", seen)):
            fitting = [other for other in others if other.label == clip.label]
            if fitting:
                parts[name] = fitting[draw.integers(len(fitting))].found
        judgements = {name: part for name, part in parts.items() if part}
        one = fused(judgements, weights)
        found.append(Judged(label=clip.label, group=clip.group, found=one))
    return found


def run(voices: Path | None, faces: Path | None) -> dict[str, Any]:
    """All figures that the data allow."""
    words, network = Words(), Faces()
    said = [
        Judged(label=label, group="", found=words.judge(sentence))
        for label, sentences in SENTENCES.items()
        for sentence in sentences
    ]
    seen = [
        Judged(label=label, group="", found=network.judge(open_image(path)))
        for label, path in pictures(faces)
    ]
    orders = [order("words (T)", said, VALENCE), order("face (V)", seen, VALENCE)]
    for speakers, which in ((TRIED, "tried-out"), (HELD_OUT, "held-out")) if voices else ():
        assert voices is not None
        heard = [
            Judged(label=clip.label, group=clip.speaker, found=voice(clip.path))
            for clip in clips(voices, speakers)
        ]
        orders += [
            order(f"voice (A), {which} speakers: excited above calm", heard, AROUSAL, excitement),
            order(
                f"voice (A), {which}: angry above sad", heard, {"sad": 0, "angry": 1}, excitement
            ),
            order(f"voice (A), {which}: by value", heard, VALENCE),
        ]
        if which == "held-out":
            both = together(said, heard, [])
            orders += [
                order("words and voice (M)", both, VALENCE),
                order("words, voice and face (M)", together(said, heard, seen), VALENCE),
                order("voice and face (M)", together([], heard, seen), VALENCE),
            ]
    return {
        "orders": [asdict(each) for each in orders if each],
        "labels": labels(said, "words") + labels(seen, "face") + labels(ordinary(), "voice"),
    }


def ordinary() -> list[Judged]:
    """Readings and questions of people who feel nothing in particular, as far as one can hear."""
    paths = [path for name in READ if (path := packaged("moonshine_voice", "assets", name))]
    if RECORDINGS_FOLDER.is_dir():
        paths += [path for path in RECORDINGS_FOLDER.iterdir() if path.suffix in SUFFIXES]
    return [Judged(label="neutral", group="", found=voice(path)) for path in sorted(paths)]


def labels(items: list[Judged], what: str) -> list[dict[str, Any]]:
    """By label how often which label was found."""
    rows = []
    for label in VALENCE:
        own = [item.found for item in items if item.label == label]
        mine = [found.label if found else "none" for found in own]
        if mine:
            rows.append({"what": what, "label": label, **{f: mine.count(f) for f in set(mine)}})
    return rows


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--voices", type=Path, metavar="FOLDER", help="Hedgewars' Sounds/voices")
    parser.add_argument("--faces", type=Path, metavar="FOLDER", help="jsPsych's examples/img")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    asked = parser.parse_args()
    found = {
        "date": date.today().isoformat(),
        "hardware": hardware(),
        **run(asked.voices, asked.faces),
    }
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"{found['date']}, {found['hardware']}\n")
    print("| what | n | pairs in order | 95 % interval | p |")
    print("| --- | ---: | ---: | --- | ---: |")
    for row in found["orders"]:
        interval = f"{row['low']:.2f} to {row['high']:.2f}"
        print(f"| {row['what']} | {row['n']} | {row['pairs']:.2f} | {interval} | {row['p']:.4f} |")
    print()
    for row in found["labels"]:
        print(", ".join(f"{key}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
