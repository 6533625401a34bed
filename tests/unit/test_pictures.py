"""Pictures are told apart, measured and refused alike, whoever decodes or sends them."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnlab.chunks import Image
from turnlab.errors import InvalidImage
from turnlab.modules.openai_gpt_4o_text_and_image import sampled
from turnlab.openai_api.pictures import data_url
from turnlab.pictures import MOST_PIXELS, check_picture, picture_type
from turnlab.vision.pictures import decoded

pytest.importorskip("PIL", reason="pip install 'turnlab[vision]'")

from PIL import Image as Pillow

KINDS = ("PNG", "JPEG", "WEBP", "GIF")
CHECKERS: tuple[Callable[[Image], Any], ...] = (check_picture, data_url, decoded)


def noise(width: int = 60, height: int = 40, seed: int = 1) -> Any:
    dots = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Pillow.fromarray(dots)


def file(drawn: Any, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    drawn.save(data, kind, **options)
    return data.getvalue()


def image(data: bytes, kind: str) -> Image:
    return Image(data=data, media_type=f"image/{kind.lower()}")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in KINDS),
        ("JPEG", {"progressive": True, "quality": 95}),
        ("JPEG", {"icc_profile": bytes(200_000)}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0II*\0"}),
    ],
)
def test_a_picture_tells_its_size(kind: str, options: dict[str, Any]) -> None:
    assert check_picture(image(file(noise(), kind, **options), kind)) == (60, 40)


@pytest.mark.parametrize("checked", CHECKERS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_a_picture_does_no_harm(kind: str, checked: Callable[[Image], Any]) -> None:
    checked(image(file(noise(), kind) + bytes(5_000), kind))


@pytest.mark.parametrize("checked", CHECKERS)
def test_a_phone_puts_several_pictures_into_one_file(checked: Callable[[Image], Any]) -> None:
    several = file(noise(), "MPO", save_all=True, append_images=[noise(seed=2)])
    checked(image(several, "JPEG"))


@pytest.mark.parametrize("checked", CHECKERS)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_picture_that_is_cut_off_is_refused(
    kind: str, share: float, checked: Callable[[Image], Any]
) -> None:
    whole = file(noise(), kind)
    with pytest.raises(InvalidImage):
        checked(image(whole[: int(share * len(whole))], kind))


def test_a_small_picture_inside_does_not_make_a_picture_whole() -> None:
    small = file(noise(8, 8), "JPEG")
    assert b"\xff\xd9" in small
    whole = file(noise(), "JPEG")
    outer = whole[:2] + b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small + whole[2:]
    assert check_picture(image(outer, "JPEG")) == (60, 40)
    with pytest.raises(InvalidImage, match="cut off"):
        check_picture(image(outer[:-50], "JPEG"))


@pytest.mark.parametrize("checked", CHECKERS)
def test_a_picture_is_what_it_is_called(checked: Callable[[Image], Any]) -> None:
    with pytest.raises(InvalidImage, match="'image/png' is image/jpeg"):
        checked(image(file(noise(), "JPEG"), "PNG"))


@pytest.mark.parametrize("checked", CHECKERS)
@pytest.mark.parametrize(
    "data", [b"", b"<svg/>", b"GIF8xa" + bytes(20) + b";", b"RIFF" + bytes(4) + b"WAVE"]
)
def test_what_is_no_picture_is_refused(data: bytes, checked: Callable[[Image], Any]) -> None:
    with pytest.raises(InvalidImage, match="neither PNG, JPEG, WebP nor GIF"):
        checked(image(data, "GIF"))


@pytest.mark.parametrize("checked", CHECKERS)
@pytest.mark.parametrize(
    ("size", "reason"), [((60_000, 60_000), "megapixels"), ((0, 8), "no pixels")]
)
def test_a_size_that_cannot_be_is_refused_before_anything_is_decoded(
    size: tuple[int, int], reason: str, checked: Callable[[Image], Any]
) -> None:
    data = bytearray(file(noise(), "PNG"))
    data[16:24] = b"".join(side.to_bytes(4, "big") for side in size)
    with pytest.raises(InvalidImage, match=reason):
        checked(image(bytes(data), "PNG"))


def test_a_frame_larger_than_its_screen_cannot_claim_all_memory() -> None:
    data = bytearray(file(noise(), "GIF"))
    at = data.index(b",\0\0\0\0" + (60).to_bytes(2, "little"))
    data[at + 5 : at + 9] = (9_000).to_bytes(2, "little") * 2
    assert check_picture(image(bytes(data), "GIF")) == (60, 40)
    with pytest.raises(InvalidImage, match="megapixels"):
        decoded(image(bytes(data), "GIF"))


def test_a_picture_larger_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnlab.pictures.LIMIT_BYTES", 100)
    for checked in CHECKERS:
        with pytest.raises(InvalidImage, match="larger than"):
            checked(image(file(noise(), "PNG"), "PNG"))


@pytest.mark.parametrize("part", [b"\xff", b"\xff\xe0\0\2", b"\xff\xe0\xff\xff" + bytes(65_533)])
def test_a_header_that_never_ends_is_refused_in_time(part: bytes) -> None:
    with pytest.raises(InvalidImage, match="damaged"):
        check_picture(image(b"\xff\xd8" + part * (10_000_000 // len(part)), "JPEG"))


MAGIC = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\4\0\0\0WEBPVP8")


@settings(max_examples=200, deadline=None)
@given(magic=st.sampled_from(MAGIC), data=st.binary(max_size=64))
def test_any_bytes_are_refused_or_have_a_size(magic: bytes, data: bytes) -> None:
    with suppress(InvalidImage):
        kind = picture_type(magic + data) or "image/png"
        width, height = check_picture(Image(data=magic + data, media_type=kind))
        assert 0 < width * height <= MOST_PIXELS


async def test_no_more_pictures_are_held_than_may_be_sent() -> None:
    """Of a film, each frame was held until its end."""
    alive = most_alive = 0

    class Frame(Image):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    async def film() -> Any:
        nonlocal alive, most_alive
        for number in range(200):
            alive += 1
            most_alive = max(most_alive, alive)
            yield Frame(data=bytes([number]), media_type="image/png")

    sent = await sampled(film(), 5, 3)
    assert [each.data[0] for each in sent] == [189, 194, 199]
    assert most_alive <= 13
