"""How far predictions are right: real Runs, each predicted from others.

`python -m benchmarks.prediction [--questions N] [--repeat N] [--parts a,b] [--home DIR]
[--evaluate] [--page FILE] [--json FILE]`. Four Clusters of local models answer the questions of the
starter dataset:

- `measured` replays two of them anew: these turns are predicted from those that all begins with;
- `new` is the fourth, which joins them: it is put together from Components that were measured in
  others;
- `crowded` replays the first of them two and four at a time: predicted from turns one at a time;
- `realtime` (only if it is named) does the first again, twice, at the pace of speech.

What is learnt from is recorded at the beginning and at the end (`--repeat` 2 and more).

As it stands it takes about a quarter of an hour on two cores, and wants the machine for itself.
`--evaluate` runs nothing and holds what lies in `--home` against itself again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.journal import hardware
from turnlab.bench.datasets.starter_texts import ASKED, CONVERSATIONS
from turnlab.bench.measuring.statistics import quantile
from turnlab.bench.predict.page import validation_page
from turnlab.bench.predict.records import Group
from turnlab.bench.predict.validation import LEVELS, TOLERANCES, Check, Validation, check
from turnlab.modules.text2speech import Text2Speech

PLAIN = "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION"
EMOTION = "CLUSTER_Q_ETE_CONVERSATION"
OTHER_VOICE = "PREDICTION_OTHER_VOICE"
NEW = "PREDICTION_NEW"

PARTS = ("measured", "new", "crowded", "realtime")
USUAL = ("measured", "new", "crowded")
AT_ONCE = (2, 4)

_VOICE = '[[component]]\ntask = "text2speech"\nparams = { threads = 1, speed = 0.9 }\n'
_EARS = '[[component]]\ntask = "speech2text"\n'
_MODEL = '[[component]]\ntask = "quantization_llm"\nparams = { prompt_template = "%s" }\n'
_FEELING = '[[component]]\ntask = "emotion_detection"\n'
_FILES = {
    OTHER_VOICE: _EARS + _MODEL % "{text}" + _VOICE,
    NEW: _EARS + _FEELING + _MODEL % "{text}{emotion}" + _VOICE,
}

QUESTIONS = [words for words, _ in ASKED]
QUESTIONS += [words for _, turns in CONVERSATIONS for words, _ in turns]

_SILENCE_S = (0.2, 0.3)
"""Before and after each question."""


def make_dataset(folder: Path, count: int) -> Path:
    """The first `count` questions of the starter dataset, spoken by the local voice."""
    folder.mkdir(parents=True, exist_ok=True)
    voice = Text2Speech(Text2Speech.Params())
    voice.load()
    lines = []
    for number, words in enumerate(QUESTIONS[:count]):
        samples, rate = voice.speak(words, voice.params)
        before, after = (np.zeros(int(s * rate), np.float32) for s in _SILENCE_S)
        name = f"question-{number:02d}"
        soundfile.write(folder / f"{name}.wav", np.concatenate([before, samples, after]), rate)
        lines.append(json.dumps({"id": name, "audio": f"{name}.wav", "transcript": words}))
    voice.close()
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def make_clusters(folder: Path) -> Path:
    """The two Clusters that are not built in."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, components in _FILES.items():
        text = f'name = "{name}"\n\n{components}'
        (folder / f"{name.lower()}.toml").write_text(text, encoding="utf-8")
    return folder


class Bench:
    """`turnlab bench` in a process of its own, with a home of its own."""

    def __init__(self, home: Path, dataset: Path, clusters: Path) -> None:
        self._home, self._dataset, self._clusters = home, dataset, clusters

    def run(self, name: str, clusters: Sequence[str], repeat: int, *options: str) -> None:
        """Record one Run."""
        began_s = time.monotonic()
        command = [sys.executable, "-m", "turnlab", "bench", "--clusters", ",".join(clusters)]
        command += ["--dataset", str(self._dataset), "--repeat", str(repeat), "--name", name]
        command += ["--cluster-folder", str(self._clusters), *options]
        # A budget that cannot be missed: its verdict is not what this is about.
        command += ["--budget", "voice_to_voice.p50 <= 1000"]
        environment = {**os.environ, "TURNLAB_HOME": str(self._home)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode not in (0, 3):  # 3: too few turns for a verdict
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        _say(f"{name}: {time.monotonic() - began_s:.0f} s")


def record(bench: Bench, parts: Sequence[str], repeat: int) -> None:
    """All Runs that are asked for: what is learnt from at the beginning and at the end, so that a
    machine that becomes faster or slower meanwhile does so for both sides."""
    learnt = [PLAIN, EMOTION, OTHER_VOICE]
    held = [PLAIN, EMOTION] + ([NEW] if "new" in parts else [])
    holds = bool({"measured", "new"} & set(parts))
    first, second = repeat - repeat // 2, repeat // 2
    bench.run("learn", learnt, first)
    if holds:
        bench.run("held", held, first)
    if "crowded" in parts:
        for at_once in AT_ONCE:
            bench.run(f"crowded-{at_once}", [PLAIN], repeat, "--concurrency", str(at_once))
    if "realtime" in parts:
        for name in ("learn-realtime", "held-realtime"):
            bench.run(name, [PLAIN], repeat, "--pace", "realtime")
    if second and holds:
        bench.run("held", held, second)
    if second:
        bench.run("learn", learnt, second)


def groups(home: Path) -> dict[str, list[Group]]:
    """What was recorded, by name; Runs of equal name are one."""
    os.environ["TURNLAB_HOME"] = str(home)
    from turnlab.server.setup import open_database

    open_database()
    from turnlab.cli.session import find_registry
    from turnlab.server.runs import get_run
    from turnlab.server.traces import load_groups, run_ids

    registry = find_registry(None)
    found: dict[str, dict[str, Group]] = {}
    for run_id in reversed(run_ids()):
        named = found.setdefault(get_run(run_id).name, {})
        for group in load_groups([run_id], registry):
            before = named[group.cluster].turns if group.cluster in named else ()
            named[group.cluster] = replace(group, turns=(*before, *group.turns))
    return {name: list(named.values()) for name, named in found.items()}


def checks(found: dict[str, list[Group]], seed: int = 0) -> Iterator[tuple[str, Check]]:
    """Each hidden Group and how it was predicted from the Runs that it was not part of."""
    learnt = found["learn"]
    for group in found.get("held", []):
        sort = "a Cluster never run" if group.cluster == NEW else "another Run of the Cluster"
        yield sort, check(group, learnt, seed=seed)
    for at_once in AT_ONCE:
        for group in found.get(f"crowded-{at_once}", []):
            # What was measured one at a time, in both Runs: the speed of the machine drifts.
            before = [*learnt, *found.get("held", [])]
            yield f"{at_once} turns at once", check(group, before, seed=seed)
    for group in found.get("held-realtime", []):
        learnt_too = [*learnt, *found["learn-realtime"]]
        yield "at the pace of speech", check(group, learnt_too, seed=seed)


def as_markdown(found: Sequence[tuple[str, Check]]) -> list[str]:
    """The table of docs/explanation/prediction.md."""
    lines = [
        "| what was predicted | Cluster | turns | p50, s: measured | predicted | error "
        "| p95, s: measured | predicted | error | asked |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for sort, each in found:
        cells = [sort, f"`{each.group.cluster}`", str(len(each.measured))]
        for level in LEVELS:
            error = each.errors[level]
            told = "-" if error.value is None else f"{error.value * 100:+.1f} %"
            if error.value is not None and error.low is not None and error.high is not None:
                told += f" ({error.low * 100:+.0f} to {error.high * 100:+.0f})"
            values = (quantile(each.measured, level), quantile(each.predicted, level))
            cells += [*(f"{value:.3f}" for value in values), told]
        asked = TOLERANCES[each.sort]
        verdict = [each.right(level) for level in LEVELS]
        met = "not told" if None in verdict else "met" if all(verdict) else "missed"
        cells.append(f"{asked[0]:.0%}, {asked[1]:.0%}: {met}".replace("%", " %"))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


@contextmanager
def _home(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.absolute()
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> None:
    """Record, predict, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=64, help="turns of the dataset (64)")
    parser.add_argument("--repeat", type=int, default=2, help="how often each (2)")
    parser.add_argument("--parts", default=",".join(USUAL), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--home", type=Path, help="keep what is recorded in this folder")
    parser.add_argument("--evaluate", action="store_true", help="record nothing, see --home")
    parser.add_argument("--page", type=Path, help="write the pictures, a page")
    parser.add_argument("--json", type=Path, help="write the errors")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    parts = asked.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"There is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
    with _home(asked.home) as home:
        if not asked.evaluate:
            dataset = make_dataset(home / "questions", asked.questions)
            record(Bench(home, dataset, make_clusters(home / "clusters")), parts, asked.repeat)
        found = list(checks(groups(home), asked.seed))
    print(f"{date.today().isoformat()}, {hardware()}")
    print(f"{asked.questions} questions, {asked.repeat} times\n")
    print("\n".join(as_markdown(found)))
    for _, each in found:
        print(f"\n{each.sentence} {' '.join(each.notes)}")
    if asked.json:
        asked.json.write_text(json.dumps([_row(*each) for each in found], indent=1))
    if asked.page:
        together = Validation(run_id="real Runs", checks=tuple(each for _, each in found))
        asked.page.write_text(validation_page(together), encoding="utf-8")


def _row(sort: str, each: Check) -> dict[str, object]:
    errors = {f"p{level * 100:g}": each.errors[level].value for level in LEVELS}
    return {"what": sort, "cluster": each.group.cluster, "errors": errors}


if __name__ == "__main__":
    main()
