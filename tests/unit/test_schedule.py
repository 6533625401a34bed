"""The order of a Run: fair to every Cluster, kind to conversations, the same every time."""

from __future__ import annotations

from collections import Counter
from itertools import groupby, pairwise

import pytest

from tests.unit.harness_rig import RUN, turns
from turnlab.bench.replay.schedule import Job, schedule, warm_ups
from turnlab.tracks import Mode

MODES = (Mode.STREAMED, Mode.CHAINED)


def rounds(jobs: list[Job], size: int) -> list[list[Job]]:
    return [jobs[at : at + size] for at in range(0, len(jobs), size)]


def test_every_turn_goes_through_every_cluster_in_every_mode_as_often_as_asked():
    jobs = schedule(turns(5), ["A", "B"], MODES, 3)
    keys = [job.key for job in jobs]
    assert len(keys) == len(set(keys)) == 5 * 2 * 2 * 3
    assert schedule(turns(5), ["A", "B"], MODES, 3) == jobs


@pytest.mark.parametrize("clusters", [["A"], ["A", "B"], ["A", "B", "C"], list("ABCD")])
def test_each_round_holds_each_cluster_once(clusters):
    for row in rounds(schedule(turns(8), clusters, MODES[:1]), len(clusters)):
        assert sorted(job.entrant.cluster for job in row) == clusters


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_each_cluster_has_each_place_and_follows_each_other_one_equally_often(count):
    names = list("ABCDE"[:count])
    # A whole square: n rows for an even number, twice as many for an odd one.
    jobs = schedule(turns(count * (2 if count % 2 else 1)), names, MODES[:1])
    places, before = Counter(), Counter()
    for row in rounds(jobs, count):
        order = [job.entrant.cluster for job in row]
        places.update(zip(order, range(count), strict=True))
        before.update(pairwise(order))
    assert len(set(places.values())) == 1
    assert len(before) == count * (count - 1)
    assert len(set(before.values())) == 1


def test_no_turn_comes_twice_in_a_round_so_that_no_prompt_is_still_in_a_cache():
    for row in rounds(schedule(turns(8), ["A", "B"], MODES), 4):
        assert len({job.turn.id for job in row}) == 4


def test_turns_of_a_conversation_come_in_order_and_name_the_one_before():
    jobs = schedule(turns(6, c=[4, 1, 2]), ["A", "B"], MODES, 2)
    for entrant in {job.entrant for job in jobs}:
        mine = [job for job in jobs if job.entrant == entrant and job.turn.conversation]
        for again in (1, 2):
            talk = [job for job in mine if job.repeat == again]
            assert [job.turn.id for job in talk] == ["t4", "t1", "t2"]
            assert [job.after for job in talk] == [None, talk[0].key, talk[1].key]


def test_a_conversation_has_an_id_of_its_own_in_each_cluster_mode_repetition_and_run():
    jobs = schedule(turns(3, c=[0, 1]), ["A", "B"], MODES, 2)
    ids = [job.conversation_id(RUN) for job in jobs]
    assert len(set(ids) - {None}) == 2 * 2 * 2
    assert ids == [job.conversation_id(RUN) for job in schedule(turns(3, c=[0, 1]), "AB", MODES, 2)]
    assert {job.conversation_id(RUN) for job in jobs if job.turn.id == "t2"} == {None}
    assert not set(ids[:1]) & {job.conversation_id("R-20260101T000000-000000") for job in jobs}


def test_several_at_once_are_of_one_cluster_at_a_time():
    jobs = schedule(turns(4), ["A", "B"], MODES[:1], 3, at_once=2)
    blocks = [list(block) for _, block in groupby(jobs, key=lambda job: job.block)]
    assert len(blocks) == 6
    for block in blocks:
        assert len({(job.entrant, job.repeat) for job in block}) == 1
        assert [job.turn.id for job in block] == ["t0", "t1", "t2", "t3"]
    assert [block[0].entrant.cluster for block in blocks] == ["A", "B", "B", "A", "A", "B"]


def test_warm_ups_are_no_repetition_and_turns_that_come_last():
    jobs = warm_ups(turns(4, c=[2, 3]), ["A", "B"], MODES[:1], 2)
    assert [(job.entrant.cluster, job.turn.id) for job in jobs] == [
        ("A", "t3"),
        ("A", "t2"),
        ("B", "t0"),
        ("B", "t3"),
    ]
    assert {job.repeat for job in jobs} == {0}
    assert {job.conversation_id(RUN) for job in jobs} == {None}
    assert len(warm_ups(turns(1), ["A"], MODES[:1], 3)) == 3
