"""The simulated machine: cores are shared fairly, none is made up, urgent work goes first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from turnlab.bench.predict.cores import Cores, Places
from turnlab.bench.predict.records import Part
from turnlab.bench.predict.scenes import Piece, Role, Scene
from turnlab.bench.predict.sharing import BATCHED, COUPLED, LEAST, Trait, rates
from turnlab.bench.predict.stage import Playing, Setting, Stage

WORK = st.floats(0.01, 5.0)


def ends(count: float, jobs: Sequence[tuple[float, float, float]]) -> list[float]:
    """When each of `(begins, work, cores)` ends on so many cores."""
    env = simpy.Environment()
    cores = Cores(env, count)
    found = [0.0] * len(jobs)

    def one(number: int, begins_s: float, work_s: float, wanted: float):
        yield env.timeout(begins_s)
        yield cores.begin(work_s, wanted, False).done
        found[number] = env.now

    for number, job in enumerate(jobs):
        env.process(one(number, *job))
    env.run()
    return found


def test_what_fits_is_not_slowed():
    assert ends(2, [(0.0, 1.0, 1.0), (0.5, 1.0, 1.0)]) == pytest.approx([1.0, 1.5])


def test_what_does_not_fit_is_slowed_equally():
    # Both want both cores: half as fast while they are two.
    assert ends(2, [(0.0, 1.0, 2.0), (0.0, 2.0, 2.0)]) == pytest.approx([2.0, 3.0])


def test_one_that_comes_later_slows_from_then_on():
    assert ends(1, [(0.0, 1.0, 1.0), (0.5, 1.0, 1.0)]) == pytest.approx([1.5, 2.0])


@given(st.lists(st.tuples(st.floats(0, 3), WORK, st.floats(0.2, 4)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_more_is_done_than_cores_can_do(jobs: list[tuple[float, float, float]]):
    count = 2.0
    found = ends(count, jobs)
    for (begins_s, work_s, _), end_s in zip(jobs, found, strict=True):
        assert end_s >= begins_s + work_s - 1e-9
    work_s = sum(work * cores for _, work, cores in jobs)
    assert (
        max(found) >= min(begin for begin, _, _ in jobs) + work_s / count - 1e-6
        or max(cores for _, _, cores in jobs) > count
    )


@given(st.lists(WORK, min_size=1, max_size=10))
@settings(max_examples=40, deadline=None)
def test_cores_are_never_idle_while_there_is_work_for_them(works: list[float]):
    # Each wants all: processor sharing ends all of it when one after the other would.
    assert max(ends(2, [(0.0, work, 2.0) for work in works])) == pytest.approx(sum(works))


def test_processor_sharing_is_as_slow_as_theory_says():
    """M/M/1 with processor sharing: the mean time is S / (1 - load) (Kleinrock 1976)."""
    chance = np.random.default_rng(3)
    count, load = 40_000, 0.6
    begins = np.cumsum(chance.exponential(1 / load, count))
    work = chance.exponential(1.0, count)
    jobs = [(float(b), float(w), 1.0) for b, w in zip(begins, work, strict=True)]
    took = np.array(ends(1, jobs)) - begins
    assert took.mean() == pytest.approx(1 / (1 - load), rel=0.08)


@given(st.floats(0.1, 8), st.floats(0.1, 8))
def test_what_gives_way_gets_what_is_left(firm: float, yielding: float):
    of_firm, of_yielding = rates(firm, yielding, 2.0)
    assert of_firm == pytest.approx(min(1.0, 2.0 / firm))
    assert 0 < of_yielding <= 1
    assert rates(0.0, yielding, 2.0)[1] == pytest.approx(min(1.0, 2.0 / yielding))
    if firm >= 2:
        assert of_yielding <= LEAST + 1e-9
    if firm + yielding <= 2:
        assert (of_firm, of_yielding) == (1.0, 1.0)
    else:
        assert of_yielding <= max(LEAST, COUPLED * (2.0 - firm) / yielding) + 1e-9


@given(st.integers(1, 8), st.floats(0.1, 2.0))
def test_replies_that_are_computed_together_take_less_than_one_after_the_other(
    count: int, cores: float
):
    together = rates(0.0, count * cores, 2.0, count)[1]
    assert 1 / (1 + BATCHED * (count - 1)) - 1e-9 <= together <= 1
    if cores == 2.0:
        assert together >= rates(0.0, count * cores, 2.0)[1] - 1e-9


def test_two_replies_of_one_model_are_a_batch_and_two_models_are_not():
    def ended(*batches: str) -> float:
        env = simpy.Environment()
        cores = Cores(env, 2.0)
        jobs = [cores.begin(1.0, 2.0, True, batch) for batch in batches]
        env.run(env.all_of([job.done for job in jobs]))
        return env.now

    assert ended("a", "a") == pytest.approx(1 + BATCHED)
    assert ended("a", "b") == ended("", "") == pytest.approx(2.0)


def test_places_go_to_who_has_waited_longest():
    env = simpy.Environment()
    places, order = Places(env, 1), []

    def one(number: int):
        yield env.timeout(number * 0.1)
        yield from places.take()
        order.append((number, env.now))
        yield env.timeout(1.0)
        places.give()

    for number in (2, 0, 1):
        env.process(one(number))
    env.run()
    assert order == [(0, 0.0), (1, 1.0), (2, 2.0)]


def role(name: str, depth: int, pieces: list[Piece], trait: Trait, **about: object) -> Role:
    part = Part(name=name, task_name=name, produces="Speech", reads={}, instance=name, places=8)
    given = {"starts": (), "reads": (), "after": (), "reads_user": True}
    return Role(part=part, trait=trait, pieces=pieces, depth=depth, **{**given, **about})  # type: ignore[arg-type]


def piece(work_s: float, *, needs: tuple[tuple[int, int], ...] = (), **about: object) -> Piece:
    given: dict[str, object] = {
        "user_s": 0.0,
        "lag_s": 0.0,
        "first_s": 0.0,
        "chunks": 0,
        "milestone": True,
    }
    return Piece(needs=needs, work_s=work_s, **{**given, **about})  # type: ignore[arg-type]


def test_a_writer_makes_way_for_the_voice_and_goes_on_where_it_was():
    """After its first words the voice wants both cores: the writer leaves one word later, comes
    back when the voice is done, and pays for coming back."""
    words = Trait(cores=2.0, gives_way=True, grain_s=0.01, leaves_s=0.01, resumes_s=0.02)
    writer = role(
        "writer",
        0,
        [
            piece(0.10, first_s=0.06, chunks=4),
            piece(0.20, chunks=20),
        ],
        words,
    )
    sound = piece(0.5, needs=((0, 1),), sound_s=5.0, quiet_s=0.0, user_s=-1.0)
    voice = role("voice", 1, [sound], Trait(cores=2.0), starts=((0, 1),), reads_user=False)
    scene = Scene(
        roles=[writer, voice],
        ends=[2, 1],
        speaker=1,
        zero_s=0.0,
        speech_s=1.0,
        listens_s=0.0,
        gap_s=0.0,
        turn_id="1",
    )
    stage = Stage(Setting(cores=2))
    playing = Playing(stage, scene)
    stage.env.process(playing.run())
    stage.env.run()
    # 0.10 to its clause, 0.01 until it has left, 0.5 of synthesis with nothing beside it.
    assert playing.voice_to_voice_s == pytest.approx(0.61)
    # The word that was under way is written again, and coming back costs 0.02.
    assert playing.reached[0][1] == pytest.approx(0.61 + 0.02 + 0.20)
