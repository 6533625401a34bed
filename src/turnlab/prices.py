"""What providers charge: read from a dated TOML file, and from one of the user's own."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from turnlab.errors import InvalidPrices

VARIABLE = "TURNLAB_PRICES"
"""Names the user's own file of prices."""

BUILTIN = Path(__file__).with_name("prices.toml")

MILLION = 1_000_000

_OF_TOKENS = ("cached_input", "audio_input", "cached_audio_input", "audio_output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a Task used of a provider; None where nobody counted it."""

    input_tokens: int | None = None
    """All tokens of the prompts, cached and of sound ones among them."""
    cached_input_tokens: int | None = None
    audio_input_tokens: int | None = None
    cached_audio_input_tokens: int | None = None
    """Those of sound that were cached: they are among the cached ones and among those of sound."""
    output_tokens: int | None = None
    """All tokens that were made, those of sound among them."""
    audio_output_tokens: int | None = None
    audio_s: float | None = None
    """Seconds of sound that were sent."""
    characters: int | None = None
    """Characters of text that were sent to be spoken."""

    def __add__(self, other: Usage) -> Usage:
        names = [f.name for f in fields(self)]
        sums: dict[str, Any] = {n: _sum(getattr(self, n), getattr(other, n)) for n in names}
        return Usage(**sums)

    def as_json(self) -> dict[str, float]:
        """What was counted, as records keep it."""
        counted = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: round(value, 6) for name, value in counted if value is not None}


class Price(BaseModel):
    """What one model costs in US dollars: by tokens, by minutes of sound, or by characters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: date
    """The day for which the price is known."""
    source: str = Field(min_length=1)
    input: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A million tokens of the prompt."""
    cached_input: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A million of those that the provider had cached; without it they cost what others do."""
    audio_input: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A million tokens of sound; without it they cost what others do."""
    cached_audio_input: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A million tokens of sound that the provider had cached."""
    output: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A million tokens that were written."""
    audio_output: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A million tokens of sound that were made; without it they cost what others do."""
    minute: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A minute of sound that was sent."""
    characters: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A million characters that were spoken."""

    @model_validator(mode="after")
    def _one_way(self) -> Price:
        if (self.input is None) != (self.output is None):
            raise ValueError("input and output go together")
        if sum(each is not None for each in (self.input, self.minute, self.characters)) != 1:
            raise ValueError("give input and output, or minute, or characters")
        of_tokens = [name for name in _OF_TOKENS if getattr(self, name) is not None]
        if self.input is None and of_tokens:
            raise ValueError(f"{' and '.join(of_tokens)}: go with input and output")
        return self

    def cost_usd(self, usage: Usage) -> float | None:
        """What `usage` costs in US dollars; None if what it is charged by was not counted."""
        if self.minute is not None:
            return _times(self.minute, usage.audio_s, 60)
        if self.characters is not None:
            return _times(self.characters, usage.characters, MILLION)
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        read = self._of_prompt(usage, usage.input_tokens)
        made = self._of_reply(usage, usage.output_tokens)
        return None if read is None or made is None else (read + made) / MILLION

    def _of_prompt(self, usage: Usage, read: int) -> float | None:
        """Millionths of a dollar for the prompt; None where what was sound or cached sound counts
        and was not told."""
        plain, cached = self.input or 0.0, usage.cached_input_tokens or 0
        if self.audio_input is None and self.cached_audio_input is None:
            rate = plain if self.cached_input is None else self.cached_input
            return max(0, read - cached) * plain + cached * rate
        both = _overlap(usage, read)
        if usage.audio_input_tokens is None or both is None:
            return None
        rate_of_both = self._rate_of_cached_sound()
        if both and rate_of_both is None:
            return None
        sound = usage.audio_input_tokens
        total = max(0, read - cached - sound + both) * plain + both * (rate_of_both or 0.0)
        total += (cached - both) * (plain if self.cached_input is None else self.cached_input)
        return total + (sound - both) * (plain if self.audio_input is None else self.audio_input)

    def _rate_of_cached_sound(self) -> float | None:
        """A million tokens; None where it is unknown."""
        if self.cached_audio_input is None and self.cached_input is None:
            return self.audio_input
        return self.cached_audio_input

    def _of_reply(self, usage: Usage, made: int) -> float | None:
        """Millionths of a dollar for the reply; None where what was sound counts and was not
        told."""
        rate = self.output or 0.0
        if self.audio_output is None:
            return made * rate
        if usage.audio_output_tokens is None:
            return None
        sound = min(made, usage.audio_output_tokens)
        return (made - sound) * rate + sound * self.audio_output


def _overlap(usage: Usage, read: int) -> int | None:
    """Tokens that are cached and of sound at once; None where that is not told."""
    cached, sound = usage.cached_input_tokens or 0, usage.audio_input_tokens or 0
    if usage.cached_audio_input_tokens is not None:
        return min(usage.cached_audio_input_tokens, cached, sound)
    if not cached or not sound or read in (cached, sound):
        return min(cached, sound)
    return None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: dict[str, Price] = {}


@dataclass(frozen=True, kw_only=True)
class Prices:
    """The prices that there are: those of OpenAI, and those of the user, who knows better."""

    listed: Mapping[str, Price]
    """OpenAI's list prices by model; they say nothing of other servers."""
    own: Mapping[str, Price]
    """Those of the user's file by model, whoever serves it."""

    def find(self, model: str, *, listed: bool) -> Price | None:
        """The price of `model`, None if it is unknown; `listed` says that OpenAI serves it."""
        return self.own.get(model) or (self.listed.get(model) if listed else None)

    def cost_usd(self, model: str, usage: Usage, *, listed: bool) -> float | None:
        """What `usage` costs in US dollars; None, never 0, where that is unknown."""
        price = self.find(model, listed=listed)
        cost = price.cost_usd(usage) if price else None
        return None if cost is None else round(cost, 9)


def read_prices() -> Prices:
    """The prices that come with Turnlab, and those of the file that `TURNLAB_PRICES` names.

    Raises InvalidPrices that names the file and the place.
    """
    own = os.environ.get(VARIABLE)
    return Prices(listed=_read(BUILTIN), own=_read(Path(own).expanduser()) if own else {})


def prices_digest() -> str:
    """SHA-256 of the prices that apply, which every cost hangs on. Raises InvalidPrices."""
    found = read_prices()
    lists = [sorted(each.items()) for each in (found.listed, found.own)]
    return hashlib.sha256(repr(lists).encode()).hexdigest()


def _read(path: Path) -> dict[str, Price]:
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).models
    except OSError as error:
        raise InvalidPrices(
            f"{path} cannot be read: {error.strerror}; {VARIABLE} names a file of prices."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidPrices(f"{path} is not valid TOML: {error}.") from error
    except ValidationError as error:
        raise InvalidPrices(f"{path}: {_first(error)}.") from error


def _first(error: ValidationError) -> str:
    found: Any = error.errors()[0]
    return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"


def _times(rate: float, amount: float | None, unit: float) -> float | None:
    return None if amount is None else rate * amount / unit


def _sum(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other
