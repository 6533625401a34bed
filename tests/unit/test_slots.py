"""The caches of a language model: who is given which."""

from __future__ import annotations

import asyncio

import pytest

from turnlab.profiles import LatencyProfile
from turnlab.slots import Seat, Slots
from turnlab.testing import FakeClock

SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = {"role": "user", "content": "Hello."}
BYE = {"role": "user", "content": "Goodbye."}


def used(*prompts: list[dict[str, str]]) -> tuple[Slots, list[int | None]]:
    """Slots that were used for these, and which for which; they were left in this order."""
    slots = Slots(len(prompts))
    seats = [Seat(slots) for _ in prompts]
    numbers = [seat.at_once(each) for seat, each in zip(seats, prompts, strict=True)]
    for seat in seats:
        seat.leave()
    return slots, numbers


def test_a_task_gets_the_slot_that_holds_most_of_its_prompt() -> None:
    slots, numbers = used([SYSTEM, HELLO], [SYSTEM, BYE], [BYE])
    assert [slots.pick([SYSTEM, HELLO, BYE]) for _ in range(4)] == [*numbers, None]


def test_of_equal_slots_it_gets_the_last_used() -> None:
    slots, (_, _, last) = used([SYSTEM], [SYSTEM], [SYSTEM])
    assert last is not None
    assert slots.pick([SYSTEM]) == last
    slots.give(last)
    assert slots.pick([BYE]) == last


def test_the_question_itself_does_not_count_since_asked_again_it_would_look_fast() -> None:
    slots, (first, second) = used([SYSTEM, HELLO], [SYSTEM, BYE])
    assert slots.pick([SYSTEM, HELLO]) == second != first


def test_what_a_task_filled_ahead_is_kept_for_it_while_there_is_another() -> None:
    slots = Slots(2)
    speaking = Seat(slots)
    mine = speaking.at_once([SYSTEM, HELLO])
    speaking.leave(ahead=True)
    due = Seat(slots)
    assert due.at_once([SYSTEM, BYE]) != mine
    assert speaking.at_once([SYSTEM, HELLO, BYE]) == mine
    speaking.leave(ahead=True)
    assert Seat(slots).at_once([SYSTEM, BYE]) == mine  # a reply that is due goes first


def test_it_keeps_its_slot_to_the_end_of_the_block() -> None:
    slots = Slots(2)
    with Seat(slots) as seat:
        mine = seat.at_once([SYSTEM])
        assert seat.at_once([SYSTEM, HELLO]) == mine
        assert slots.pick([SYSTEM, HELLO]) != mine
    assert slots.pick([SYSTEM, HELLO]) == mine


def test_for_warming_there_are_those_never_used_else_the_one_used_longest_ago() -> None:
    slots = Slots(3)
    with Seat(slots) as seat:
        seat.at_once([SYSTEM])
    blank = slots.unused()
    assert len(blank) == 2
    for slot in blank:
        slots.note(slot, [SYSTEM])
        slots.give(slot)
    (oldest,) = slots.unused()
    assert oldest not in blank


async def test_who_has_waited_longest_gets_the_next_and_the_wait_is_noted() -> None:
    slots, clock = Slots(1), FakeClock()
    first = Seat(slots)
    slot = first.at_once([SYSTEM])
    order: list[int] = []

    async def waiting(number: int, latency: LatencyProfile) -> None:
        with Seat(slots) as seat:
            assert await seat.take([HELLO], latency) == slot
            order.append(number)

    profiles = [LatencyProfile(clock) for _ in range(3)]
    tasks = [asyncio.create_task(waiting(n, each)) for n, each in enumerate(profiles)]
    await asyncio.sleep(0)
    first.leave()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert [each.intervals[0].label for each in profiles] == ["slot"] * 3
    free = LatencyProfile(clock)
    with Seat(slots) as seat:
        await seat.take([HELLO], free)
    assert not free.intervals


def test_who_waited_on_a_loop_that_is_gone_takes_no_slot() -> None:
    slots = Slots(1)
    first = Seat(slots)
    first.at_once([SYSTEM])

    async def left() -> None:
        waiting = asyncio.ensure_future(slots.wait([HELLO]))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(left())
    first.leave()
    assert slots.pick([HELLO]) == 0


@pytest.mark.parametrize("given", [False, True])
async def test_who_is_cancelled_while_it_waits_takes_no_slot(given: bool) -> None:
    slots = Slots(1)
    first = Seat(slots)
    first.at_once([SYSTEM])
    waiting = asyncio.create_task(slots.wait([HELLO]))
    await asyncio.sleep(0)
    if given:
        first.leave()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not given:
        first.leave()
    async with asyncio.timeout(5):
        assert await slots.wait([HELLO]) == 0
