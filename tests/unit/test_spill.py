"""The memory cap of a Track holds for sound and pictures together, whoever reads them later."""

from __future__ import annotations

import numpy as np

from turnlab.chunks import Audio, Chunk, Image
from turnlab.modules.base import Inputs
from turnlab.spill import Spill, Spilled
from turnlab.streams import Stream
from turnlab.testing.clock import FakeClock


def stream(kind: type[Chunk], spill: Spill) -> Stream[Chunk]:
    return Stream(kind, clock=FakeClock(), lead=None, spill=spill)


def photo(number: int) -> Image:
    return Image(data=bytes([number]) * 1_800, media_type="image/png")


def piece() -> Audio:
    return Audio(samples=np.zeros(10, dtype=np.float32), sample_rate=16_000)


def on_disk(held: Stream[Chunk]) -> int:
    return sum(isinstance(entry, Spilled) for entry in held._log)


async def test_pictures_beyond_the_cap_move_to_the_file_and_come_back_the_same() -> None:
    spill = Spill(cap_bytes=6_400)
    photos = stream(Image, spill)
    for number in range(10):
        await photos.put(photo(number))
    photos.end()
    assert spill.held_bytes <= 6_400
    assert on_disk(photos) == 7
    seen = [each async for each in photos.read()]
    assert seen == [photo(number) for number in range(10)]
    assert all(each.origin and each.origin.producer == "user" for each in seen)


async def test_pictures_do_not_crowd_the_sound_out_of_memory() -> None:
    spill = Spill(cap_bytes=6_400)
    photos, sound = stream(Image, spill), stream(Audio, spill)
    for number in range(4):
        await photos.put(photo(number))
    for _ in range(20):
        await sound.put(piece())
    assert (on_disk(photos), on_disk(sound)) == (1, 0)


async def test_the_newest_picture_is_still_the_newest_when_it_was_moved() -> None:
    spill = Spill(cap_bytes=2_000)
    photos, sound = stream(Image, spill), stream(Audio, spill)
    for number in range(2):
        await photos.put(photo(number))
    for _ in range(20):
        await sound.put(piece())
    photos.end()
    assert on_disk(photos) == 2
    assert [each async for each in Inputs({Image: photos}).latest(Image)] == [photo(1)]
