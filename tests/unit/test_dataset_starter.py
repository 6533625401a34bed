from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile

from turnlab.bench.datasets.dataset import Dataset
from turnlab.bench.datasets.starter import (
    TURNS,
    Spoken,
    make_noise,
    make_starter,
    plan_spoken,
    vary,
)


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("starter") / "dataset"
    make_starter(folder, turns=9)
    return Dataset.load(folder, speech=True)


def test_it_has_references_conversations_and_recordings_of_people(starter: Dataset) -> None:
    spoken = [turn for turn in starter.turns if "spoken" in turn.tags]
    assert len(starter.turns) == 9
    assert all(turn.transcript for turn in spoken)
    assert [(turn.conversation, turn.index) for turn in starter.turns if turn.conversation] == [
        ("pets", 0),
        ("pets", 1),
        ("pets", 2),
    ]
    (person,) = (turn for turn in starter.turns if "recorded" in turn.tags)
    assert person.transcript == (
        "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
    )


def test_the_same_seed_gives_the_same_dataset_and_a_smaller_one_is_its_beginning(
    starter: Dataset, tmp_path: Path
) -> None:
    make_starter(tmp_path / "again", turns=2)
    again = Dataset.load(tmp_path / "again")
    for turn, other in zip(again.turns, starter.turns, strict=False):
        assert (turn.id, turn.extra) == (other.id, other.extra)
        assert turn.audio.read_bytes() == other.audio.read_bytes()


def test_silence_and_speed_are_as_the_manifest_says(starter: Dataset) -> None:
    for turn in starter.turns:
        if "clean" not in turn.tags:
            continue
        samples, rate = soundfile.read(turn.audio)
        loud = np.flatnonzero(np.abs(samples) > 1e-4)
        assert loud[0] / rate == pytest.approx(turn.extra["lead_s"], abs=0.1)
        assert (len(samples) - loud[-1]) / rate >= turn.extra["trail_s"]


def test_a_larger_one_says_all_again_in_other_ways() -> None:
    planned = list(islice(plan_spoken(0), 200))
    assert len({turn.id for turn in planned}) == 200
    assert {turn.conversation for turn in planned} > {None, "pets", "holiday", "pets-2"}
    assert max(Counter(turn.text for turn in planned).values()) > 1
    assert {turn.snr_db for turn in planned} == {None, 20, 10, 5}
    assert {turn.speed for turn in planned} == {0.85, 1, 1.1, 1.25}
    assert [turn.id for turn in planned[:TURNS]] == [
        turn.id for turn in islice(plan_spoken(0), TURNS)
    ]
    assert planned != list(islice(plan_spoken(1), 200))


@pytest.mark.parametrize("kind", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [5.0, 20.0])
def test_the_noise_is_as_loud_as_asked_for(kind: str, snr_db: float) -> None:
    how = {"conversation": None, "reply": None, "speed": 1.0, "noise": kind}
    quiet = Spoken(id="a", text="", snr_db=None, lead_s=0.1, trail_s=0.2, **how)
    noisy = Spoken(id="a", text="", snr_db=snr_db, lead_s=0.1, trail_s=0.2, **how)
    voice = np.sin(np.arange(16_000) / 10).astype(np.float32) * 0.2
    rng = np.random.default_rng(0)
    clean = vary(voice, 16_000, quiet, rng)
    noise = vary(voice, 16_000, noisy, rng) - clean
    said = clean[1600:17_600]
    found_db = 10 * np.log10(np.mean(said**2) / np.mean(noise**2))
    assert len(clean) == 16_000 + 4_800
    assert not clean[:1600].any()
    assert found_db == pytest.approx(snr_db, abs=0.3)


def test_pink_noise_falls_by_3_db_an_octave() -> None:
    noise = make_noise("pink", 2**18, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [10 * np.log10(np.mean(power[2**n : 2 ** (n + 1)])) for n in range(10, 16)]
    assert np.diff(octaves) == pytest.approx(-3, abs=0.5)
