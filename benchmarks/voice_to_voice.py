"""How long from the end of speech to the first sound: a plain script against Turnlab.

`python -m benchmarks.voice_to_voice [--rounds N] [--utterances N] [--variants a,b] [--levers]
[--json FILE]`. Each variant is a process of its own that stays loaded; each utterance goes through
all of them, one at a time, in an order that moves on from utterance to utterance. Zero is the
moment at which a whole recording is handed over, or the last voiced sample of one that arrives as
it is spoken; the end is the first sample of the reply at or above -40 dBFS. `--levers` compares
Turnlab with itself, each lever pulled back alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.journal import hardware
from benchmarks.parts.report import GOALS, Goal, as_markdown, summary
from benchmarks.parts.variants import Variant, ablated, compared
from benchmarks.parts.workers import ROOT, Utterance, measure, started
from turnlab.audio import RATE, open_recording
from turnlab.bench.questions import QUESTIONS, make_questions
from turnlab.turns.voice_activity import VoiceActivity

QUESTIONS_FOLDER = ROOT / "benchmarks" / "results" / "questions"
RECORDINGS_FOLDER = ROOT.parent / "shared" / "data"
SUFFIXES = (".flac", ".wav")


def utterances(folder: Path, count: int | None) -> list[Utterance]:
    """Questions that the local voice asks, then real recordings where there are any."""
    paths = make_questions(QUESTIONS_FOLDER, len(QUESTIONS))
    if RECORDINGS_FOLDER.is_dir():
        paths += sorted(p for p in RECORDINGS_FOLDER.iterdir() if p.suffix in SUFFIXES)
    detector = VoiceActivity()
    return [_utterance(path, folder, detector) for path in paths[:count]]


def _utterance(path: Path, folder: Path, detector: VoiceActivity) -> Utterance:
    """The same samples for everybody: decoded, mono, at 16 kHz."""
    recording = open_recording(path, detector)
    audio = folder / f"{path.stem}.wav"
    soundfile.write(audio, np.concatenate(list(recording.blocks())), RATE, subtype="FLOAT")
    return Utterance(name=path.stem, audio=audio, last_voiced_s=recording.last_voiced_s)


def chosen(asked: argparse.Namespace) -> list[Variant]:
    """The variants that were asked for, all of the comparison otherwise."""
    variants = ablated() if asked.levers else compared()
    if not asked.variants:
        return variants
    names = asked.variants.split(",")
    unknown = set(names) - {variant.name for variant in variants}
    if unknown:
        known = ", ".join(variant.name for variant in variants)
        sys.exit(f"There is no variant {', '.join(sorted(unknown))}; there are {known}.")
    return [variant for variant in variants if variant.name in names]


def goals(variants: list[Variant], levers: bool) -> tuple[Goal, ...]:
    """The ratios that are promised, or of each pulled-back lever to Turnlab as it is."""
    if not levers:
        return GOALS
    names = [variant.name for variant in variants]
    bases = ["turnlab_realtime" if name.endswith("_realtime") else "turnlab" for name in names]
    pairs = zip(names, bases, strict=True)
    return tuple(Goal(above=name, below=base) for name, base in pairs if name != base)


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Measure; the rows and what they say."""
    variants = chosen(asked)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        spoken = utterances(folder, asked.utterances)
        _say(f"loading {len(variants)} variants")
        with started(variants, folder) as workers:
            rows = measure(workers, spoken, asked.rounds, _say)
    about = {
        "date": date.today().isoformat(),
        "hardware": hardware(),
        "utterances": len(spoken),
        "rounds": asked.rounds,
    }
    return {**about, **summary(rows, goals(variants, asked.levers)), "rows": rows}


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="turns of each utterance (2)")
    parser.add_argument("--utterances", type=int, help="only the first so many")
    parser.add_argument("--variants", help="only these, by name, with commas")
    parser.add_argument("--levers", action="store_true", help="pull back one lever at a time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and turns")
    asked = parser.parse_args()
    found = run(asked)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"{found['date']}, {found['hardware']}")
    print(f"{found['utterances']} utterances, {found['rounds']} rounds\n")
    print("\n".join(as_markdown(found)))


if __name__ == "__main__":
    main()
