"""image2text: what is told of real pictures, drawn here or shipped in packages, and what is not."""

from __future__ import annotations

import io
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from turnlab.chunks import Image
from turnlab.clock import MonotonicClock
from turnlab.errors import InvalidImage, InvalidParams, MissingModel
from turnlab.modules.image2text import Image2Text
from turnlab.packaged import packaged
from turnlab.testing.openai_server import Hang, OpenAIServer, Refuse
from turnlab.testing.rig import Rig
from turnlab.tracks import TrackStatus
from turnlab.turn_result import TurnResult
from turnlab.vision.facts import Facts, facts
from turnlab.vision.looking import LIMITS, Findings, Looker, sentences
from turnlab.vision.pictures import decoded, difference, encoded
from turnlab.vision.torch_file import read_arrays

pytest.importorskip("PIL", reason="pip install 'turnlab[vision]'")

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

FACES = Path(__file__).parents[1] / "data" / "emotion"
"""Portraits; their README says whose."""


def sign(
    text: str, *, size: tuple[int, int] = (480, 270), paper: str = "white", ink: str = "black"
) -> Any:
    """A picture with one line of text on it."""
    drawn = Pillow.new("RGB", size, paper)
    font = ImageFont.load_default(size[1] // 5)
    ImageDraw.Draw(drawn).text((size[0] // 8, size[1] // 3), text, fill=ink, font=font)
    return drawn


def picture(drawn: Any, kind: str = "PNG", **options: Any) -> Image:
    """It as a file of `kind`."""
    data = io.BytesIO()
    drawn.save(data, kind, **options)
    return Image(data=data.getvalue(), media_type=f"image/{kind.lower()}")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_every_kind_is_decoded_as_a_whole(kind: str) -> None:
    seen = decoded(picture(sign("EXIT"), kind))
    assert seen.size == (480, 270)
    assert difference(seen, sign("EXIT")) < 0.05


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_a_picture_that_is_cut_off_is_refused(kind: str, part: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    whole = picture(Pillow.fromarray(noise), kind)
    cut = Image(data=whole.data[: int(len(whole.data) * part)], media_type=whole.media_type)
    with pytest.raises(InvalidImage):
        decoded(cut)


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(64), b"\xff\xd8\xff\xe0 JFIF"],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImage):
        decoded(Image(data=data, media_type="image/png"))


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PPM"])
def test_other_kinds_are_refused_whatever_they_are_called(kind: str) -> None:
    disguised = Image(data=picture(sign("X"), kind).data, media_type="image/png")
    with pytest.raises(InvalidImage, match="neither PNG, JPEG, WebP nor GIF"):
        decoded(disguised)


def test_a_picture_is_what_it_is_called() -> None:
    disguised = Image(data=picture(sign("X"), "JPEG").data, media_type="image/png")
    with pytest.raises(InvalidImage, match=r"'image/png' is image/jpeg"):
        decoded(disguised)


@pytest.mark.parametrize("size", [(8000, 8000), (60_000, 60_000)])
def test_a_small_file_cannot_claim_all_memory(size: tuple[int, int]) -> None:
    """64 megapixels and 3.6 gigapixels, of which only the header tells."""
    data = bytearray(picture(Pillow.new("1", (8, 8))).data)
    data[16:24] = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big")
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(InvalidImage, match="megapixels"):
        decoded(Image(data=bytes(data), media_type="image/png"))


def test_it_is_turned_as_its_camera_was() -> None:
    drawn = sign("EXIT")
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be seen, turn it clockwise
    lying = drawn.transpose(Pillow.Transpose.ROTATE_90)
    seen = decoded(picture(lying, "JPEG", exif=exif.tobytes(), quality=95))
    assert seen.size == drawn.size
    assert difference(seen, drawn) < 0.05


def test_what_is_transparent_is_white() -> None:
    clear = Pillow.new("RGBA", (40, 30), (0, 0, 0, 0))
    assert np.asarray(decoded(picture(clear))).min() == 255


def test_sixteen_bits_are_not_cut_off() -> None:
    grey = Pillow.fromarray(np.full((20, 20), 0x8000, dtype=np.uint16))
    assert np.asarray(decoded(picture(grey)))[0, 0].tolist() == [128, 128, 128]


def test_a_large_picture_is_shrunk() -> None:
    assert decoded(picture(sign("X", size=(4000, 1000)))).size == (1600, 400)


def test_nothing_of_the_camera_is_passed_on() -> None:
    exif = Pillow.Exif()
    exif[0x010F] = "SECRETCAMERA"
    shot = picture(sign("EXIT"), "JPEG", exif=exif.tobytes())
    assert b"SECRETCAMERA" in shot.data
    assert b"SECRETCAMERA" not in encoded(decoded(shot)).data


def test_noise_is_no_change_and_a_new_sign_is() -> None:
    rng = np.random.default_rng(3)
    plain = sign("EXIT")
    noisy = np.clip(np.asarray(plain) + rng.normal(0, 8, (270, 480, 3)), 0, 255)
    assert difference(plain, Pillow.fromarray(noisy.astype(np.uint8))) < 0.06
    assert difference(plain, sign("PUSH")) > 0.06


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (Pillow.new("RGB", (400, 200), (30, 60, 200)), ("wide", "dark", ("blue",))),
        (Pillow.new("RGB", (200, 400), "white"), ("tall", "bright", ("white",))),
        (Pillow.new("RGB", (200, 200), (120, 70, 30)), ("square", "medium", ("brown",))),
        (Pillow.new("RGB", (9, 10), (220, 30, 30)), ("tall", "medium", ("red",))),
        (Pillow.new("RGB", (10, 10), "black"), ("square", "dark", ("black",))),
        (Pillow.new("RGB", (1, 1), (40, 200, 60)), ("square", "medium", ("green",))),
    ],
)
def test_shape_brightness_and_colour_are_named(drawn: Any, expected: tuple[Any, ...]) -> None:
    shape, brightness, colours = expected
    assert facts(drawn) == Facts(shape=shape, brightness=brightness, colours=colours)


def found(**changes: Any) -> Findings:
    plain = Facts(shape="wide", brightness="bright", colours=("blue", "white"))
    return Findings(facts=plain, **changes)


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        (found(), ""),
        (found(lines=("EXIT", 'say "hi"')), " It reads: \"EXIT / say 'hi'\"."),
        (found(guesses=(("espresso", 0.95),)), " It probably shows: espresso."),
        (
            found(guesses=(("tiger cat", 0.4), ("tabby", 0.35), ("lynx", 0.1))),
            " It may show: tiger cat or tabby.",
        ),
        (found(guesses=(("maze", 0.2),)), ""),
        (found(lines=("EXIT",), guesses=(("maze", 0.5),)), ' It reads: "EXIT".'),
        (found(faces=2, guesses=(("wig", 0.9),)), " 2 faces are seen."),
        (found(faces=1), " One face is seen."),
    ],
)
def test_only_what_was_found_is_said(findings: Findings, text: str) -> None:
    assert sentences(findings) == f"A wide, bright picture, mostly blue and white.{text}"


def test_a_page_of_text_is_quoted_in_part() -> None:
    assert len(sentences(found(lines=("word " * 50,) * 40))) < 500


@pytest.fixture(scope="module")
def looker() -> Looker:
    """All that the embedded engine has, loaded where every connection fails."""
    if missing := Image2Text.missing(Image2Text.check_params({})):
        pytest.skip("; ".join(missing))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _refuse)
        patch.setattr(socket, "getaddrinfo", _refuse)
        return Looker(text=True, objects=True, faces=True, threads=1)


def _refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("it went to the network")


def test_text_is_read_and_nothing_is_fetched_for_it(looker: Looker) -> None:
    seen = looker.look(sign("Platform 9", paper="navy", ink="yellow"), lambda: False)
    assert seen is not None
    assert seen.lines == ("Platform 9",)
    assert seen.facts.colours[0] == "blue"


def test_where_no_text_is_none_is_read(looker: Looker) -> None:
    seen = looker.look(Pillow.new("RGB", (320, 240), "grey"), lambda: False)
    assert seen is not None
    assert (seen.lines, seen.faces) == ((), 0)


@pytest.mark.parametrize("name", ["serious.jpg", "smiling-1.jpg"])
def test_a_face_is_counted(looker: Looker, name: str) -> None:
    portrait = decoded(Image(data=(FACES / name).read_bytes(), media_type="image/jpeg"))
    seen = looker.look(portrait, lambda: False)
    assert seen is not None
    assert seen.faces == 1


def test_looking_stops_when_told(looker: Looker) -> None:
    assert looker.look(sign("EXIT"), lambda: True) is None


@pytest.mark.parametrize(
    ("name", "classes"), [("flower.jpg", {"daisy"}), ("china.jpg", {"palace", "monastery"})]
)
def test_the_main_thing_in_a_photograph_is_guessed(
    looker: Looker, name: str, classes: set[str]
) -> None:
    path = packaged("sklearn", "datasets", "images", name)
    if path is None:
        pytest.skip("pip install scikit-learn: its photographs are looked at")
    shown = decoded(Image(data=path.read_bytes(), media_type="image/jpeg"))
    seen = looker.look(shown, lambda: False)
    assert seen is not None
    assert seen.guesses[0][0] in classes


def test_the_network_computes_what_it_is_told() -> None:
    """A graph written here gives what NumPy gives."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from turnlab.vision.onnx_graph import Graph

    rng = np.random.default_rng(2)
    image = rng.normal(size=(1, 3, 4, 4)).astype(np.float32)
    kernel, bias = rng.normal(size=(5, 3, 1, 1)), rng.normal(size=5)
    dense, offset = rng.normal(size=(300, 5)), rng.normal(size=300)
    graph = Graph("test", image.shape)
    x = graph.relu6(graph.conv("input", kernel, bias))
    x = graph.softmax(graph.dense(graph.mean(graph.add(x, x)), dense, offset))
    session = onnxruntime.InferenceSession(graph.model(x, (1, 300)))
    mixed = np.einsum("oi,nihw->nohw", kernel[:, :, 0, 0], image) + bias[None, :, None, None]
    logits = 2 * np.clip(mixed, 0, 6).mean((2, 3)) @ dense.T + offset
    shares = np.exp(logits - logits.max())
    assert np.allclose(session.run(None, {"input": image})[0], shares / shares.sum(), atol=1e-5)


class Evil:
    """What a pickle may hold: a call of anything."""

    def __reduce__(self) -> Any:
        return print, ("ran",)


def test_a_file_of_weights_runs_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "weights.pth"
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    path.write_bytes(magic + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + pickle.dumps(Evil(), 2))
    with pytest.raises(pickle.UnpicklingError, match="has no place"):
        read_arrays(path)
    assert capsys.readouterr().out == ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    pytest.importorskip("openai", reason="pip install 'turnlab[openai]'")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TURNLAB_PRICES"):
        monkeypatch.delenv(name, raising=False)
    with OpenAIServer(reply="A sign that\nreads EXIT.") as serving:
        yield serving


async def turn(*pictures: Image, **params: Any) -> TurnResult:
    """A turn in which these pictures are shown."""
    overrides = {"image2text": params}
    rig = Rig(Image2Text, clock=MonotonicClock(), given={Image}, overrides=overrides)
    try:
        return await rig.run(*pictures)
    finally:
        await rig.executor.close()


async def asked(server: OpenAIServer, *pictures: Image, **params: Any) -> TurnResult:
    """The same with the engine openai, which `server` is."""
    given = {"engine": "openai", "base_url": server.base_url, "max_retries": 0, **params}
    return await turn(*pictures, **given)


def profile(result: TurnResult) -> dict[str, Any]:
    assert result.error is None, result.error
    known: dict[str, Any] = result.tasks[0].result_json["result_profile"]
    return known


def film(count: int) -> list[Image]:
    """So many frames, of which each shows something else."""
    return [picture(sign(f"{number * 7919:05}")) for number in range(count)]


async def test_a_vision_model_is_shown_the_picture(server: OpenAIServer) -> None:
    result = await asked(server, picture(sign("EXIT")), detail="low", prompt="What is it?")
    known = profile(result)
    assert known["text"] == "A sign that reads EXIT."
    assert known["usage"][0]["output_tokens"] > 0
    (request,) = server.requests("chat")
    text, part = request.fields["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    assert part["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert part["image_url"]["detail"] == "low"


@pytest.mark.parametrize(
    ("params", "described"),
    [({}, 8), ({"most_frames": 3}, 3), ({"sample_ratio": 4}, 3), ({"sample_ratio": 1000}, 1)],
)
async def test_frames_are_sampled_and_bounded(
    server: OpenAIServer, params: dict[str, int], described: int
) -> None:
    known = profile(await asked(server, *film(10), **params))
    assert (known["frames"], known["described"]) == (10, described)
    assert known["alike"] + known["left_out"] == 10 - described
    assert len(server.requests("chat")) == described
    assert len(known["text"].splitlines()) == described


async def test_frames_that_look_the_same_are_described_once(server: OpenAIServer) -> None:
    one, other = picture(sign("EXIT")), picture(sign("PUSH"))
    compressed = picture(sign("EXIT"), "JPEG", quality=70)
    known = profile(await asked(server, one, compressed, one, other, other))
    assert (known["described"], known["alike"]) == (2, 3)


async def test_every_frame_is_described_where_that_is_wanted(server: OpenAIServer) -> None:
    one = picture(sign("EXIT"))
    assert profile(await asked(server, one, one, change=0))["described"] == 2


async def test_a_damaged_frame_fails_and_keeps_what_was_said(server: OpenAIServer) -> None:
    whole = picture(sign("EXIT"))
    broken = Image(data=picture(sign("PUSH")).data[:-40], media_type="image/png")
    result = await asked(server, whole, broken)
    assert result.track.status is TrackStatus.FAILED
    assert result.error is not None
    assert result.error.code == "invalid_image"
    assert result.tasks[0].result_json["result_profile"]["text"] == "A sign that reads EXIT."


async def test_what_the_provider_says_went_wrong_is_told(server: OpenAIServer) -> None:
    server.misbehave("chat", Refuse(429, "Slow down."))
    result = await asked(server, picture(sign("EXIT")))
    assert result.error is not None
    assert result.error.code == "rate_limited"
    server.misbehave("chat", Hang())
    result = await asked(server, picture(sign("EXIT")), request_timeout_s=0.2)
    assert result.error is not None
    assert result.error.code == "provider_timeout"


@pytest.mark.slow
async def test_the_embedded_engine_says_what_it_found_and_what_it_cannot() -> None:
    if missing := Image2Text.missing(Image2Text.check_params({})):
        pytest.skip("; ".join(missing))
    result = await turn(picture(sign("EXIT")), picture(sign("PUSH", paper="red", ink="white")))
    known = profile(result)
    first, second = known["text"].splitlines()
    assert first.startswith('A wide, bright picture, mostly white. It reads: "EXIT".')
    assert first.endswith(LIMITS)
    assert second == 'A wide picture, mostly red. It reads: "PUSH".'
    assert [each["text"] for each in known["recognised"]] == [["EXIT"], ["PUSH"]]


def test_a_captioner_must_be_named_and_readable(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="pip install 'turnlab[hf]'")
    check = Image2Text.check_params
    assert "Set model to the folder" in Image2Text.missing(check({"engine": "transformers"}))[0]
    (tmp_path / "config.json").touch()
    (tmp_path / "pytorch_model.bin").touch()
    params = check({"engine": "transformers", "model": str(tmp_path)})
    assert "pickle" in Image2Text.missing(params)[0]
    with pytest.raises(InvalidParams, match="pickle"):
        Image2Text(params).load()


def test_a_model_that_is_none_for_captions_is_refused(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install 'turnlab[hf]'")
    folder = save_captioner(tmp_path)
    config = transformers.LlamaConfig(
        **{"vocab_size": 100, "hidden_size": 16, "intermediate_size": 16},
        **{"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2},
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    params = Image2Text.check_params({"engine": "transformers", "model": str(folder)})
    with pytest.raises(MissingModel, match="cannot be loaded"):
        Image2Text(params).load()


def save_captioner(folder: Path) -> Path:
    """A random BLIP of a few thousand weights, and a tokenizer of words that mean nothing."""
    torch = pytest.importorskip("torch", reason="pip install 'turnlab[hf]'")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = {f"word{number}": number for number in range(100)}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="word0"))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="word1", eos_token="word2", pad_token="word2"
    ).save_pretrained(folder)
    torch.manual_seed(5)
    common = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config = transformers.BlipConfig(
        vision_config={**common, "num_attention_heads": 2, "image_size": 32, "patch_size": 16},
        text_config={
            **{**common, "num_attention_heads": 2, "vocab_size": 100, "encoder_hidden_size": 16},
            **{"bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2, "pad_token_id": 2},
        },
    )
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)
    transformers.BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


async def test_a_captioner_in_a_folder_describes(tmp_path: Path) -> None:
    params = {"engine": "transformers", "model": str(save_captioner(tmp_path)), "max_tokens": 6}
    known = profile(await turn(picture(sign("EXIT")), **params))
    assert 1 <= len(known["text"].split()) <= 6
    assert known["engine"] == "transformers"
