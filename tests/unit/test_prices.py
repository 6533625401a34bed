from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from turnlab.errors import InvalidPrices
from turnlab.prices import BUILTIN, Usage, read_prices

KNOWN = 'date = 2026-11-01\nsource = "the contract"\n'


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own file of prices, still to be written."""
    path = tmp_path / "prices.toml"
    monkeypatch.setenv("TURNLAB_PRICES", str(path))
    return path


@pytest.fixture(autouse=True)
def _no_own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TURNLAB_PRICES", raising=False)


def test_tokens_cost_by_the_million_and_cached_ones_less() -> None:
    usage = Usage(input_tokens=1_000, cached_input_tokens=400, output_tokens=100)
    # gpt-4o: 2.50 in, 1.25 cached, 10 out.
    cost = (600 * 2.50 + 400 * 1.25 + 100 * 10) / 1e6
    assert read_prices().cost_usd("gpt-4o", usage, listed=True) == pytest.approx(cost)


def test_minutes_and_characters() -> None:
    prices = read_prices()
    assert prices.cost_usd("whisper-1", Usage(audio_s=30), listed=True) == pytest.approx(0.003)
    assert prices.cost_usd("tts-1", Usage(characters=1000), listed=True) == pytest.approx(0.015)


def test_tokens_of_sound_have_a_rate_of_their_own() -> None:
    usage = Usage(input_tokens=110, audio_input_tokens=100, output_tokens=10)
    cost = (10 * 2.5 + 100 * 6 + 10 * 10) / 1e6
    assert read_prices().cost_usd("gpt-4o-transcribe", usage, listed=True) == pytest.approx(cost)


SOUND = "input = 4\ncached_input = 0.5\naudio_input = 32\noutput = 16\naudio_output = 64\n"
USED = Usage(
    input_tokens=1_000,
    cached_input_tokens=600,
    audio_input_tokens=700,
    cached_audio_input_tokens=500,
    output_tokens=300,
    audio_output_tokens=200,
)
REPLY = 100 * 16 + 200 * 64


@pytest.mark.parametrize(
    ("price", "changes", "cost"),
    [
        ("cached_audio_input = 0.4", {}, 200 * 4 + 100 * 0.5 + 200 * 32 + 500 * 0.4 + REPLY),
        ("cached_audio_input = 0.4", {"cached_audio_input_tokens": None}, None),
        ("cached_audio_input = 0.4", {"audio_input_tokens": None}, None),
        ("cached_audio_input = 0.4", {"audio_output_tokens": None}, None),
        ("", {}, None),
        (
            "",
            {"cached_input_tokens": 0, "cached_audio_input_tokens": None},
            300 * 4 + 700 * 32 + REPLY,
        ),
        (
            "cached_audio_input = 0.4",
            {"audio_input_tokens": 1_000, "cached_audio_input_tokens": None},
            400 * 32 + 600 * 0.4 + REPLY,
        ),
    ],
)
def test_sound_that_was_cached_is_charged_once(
    own: Path, price: str, changes: dict[str, int | None], cost: float | None
) -> None:
    own.write_text(f'[models."m"]\n{KNOWN}{SOUND}{price}\n')
    found = read_prices().cost_usd("m", replace(USED, **changes), listed=False)
    assert found == (None if cost is None else pytest.approx(cost / 1e6))


@pytest.mark.parametrize(
    ("model", "usage", "listed"),
    [
        ("a-model-of-mine", Usage(input_tokens=1, output_tokens=1), True),
        ("gpt-4o", Usage(input_tokens=1, output_tokens=1), False),
        ("gpt-4o", Usage(), True),
        ("gpt-4o", Usage(input_tokens=1), True),
        ("tts-1", Usage(audio_s=1), True),
    ],
)
def test_an_unknown_cost_is_none_and_never_0(model: str, usage: Usage, listed: bool) -> None:
    assert read_prices().cost_usd(model, usage, listed=listed) is None


def test_nothing_used_costs_nothing() -> None:
    assert read_prices().cost_usd("tts-1", Usage(characters=0), listed=True) == 0


def test_the_users_file_adds_to_the_list_and_wins_wherever_a_model_is_served(own: Path) -> None:
    own.write_text(
        f'[models."gpt-4o"]\n{KNOWN}input = 1.0\noutput = 1.0\n'
        f'[models."mine"]\n{KNOWN}input = 0\noutput = 0\n'
    )
    prices, million = read_prices(), Usage(input_tokens=1_000_000, output_tokens=0)
    assert prices.cost_usd("gpt-4o", million, listed=True) == 1.0
    assert prices.cost_usd("gpt-4o", million, listed=False) == 1.0
    assert prices.cost_usd("mine", million, listed=False) == 0
    assert prices.cost_usd("gpt-4o-mini", million, listed=True) == 0.15


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[models", "not valid TOML"),
        ('[models."m"]\ninput = 1\noutput = 1\n', "date"),
        (f'[models."m"]\n{KNOWN}', "give input and output"),
        (f'[models."m"]\n{KNOWN}input = 1\n', "go together"),
        (f'[models."m"]\n{KNOWN}input = 1\noutput = 1\nminute = 1\n', "give input and output"),
        (f'[models."m"]\n{KNOWN}minute = -1\n', "greater than or equal"),
        (f'[models."m"]\n{KNOWN}minute = nan\n', "finite"),
        (f'[models."m"]\n{KNOWN}minute = 1\ncached_input = 1\n', "go with input"),
        (f'[models."m"]\n{KNOWN}minute = 1\naudio_output = 1\n', "audio_output: go with input"),
        (f'[models."m"]\n{KNOWN}minutes = 1\n', "minutes"),
        ('[model."m"]\nminute = 1\n', "model"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(own: Path, text: str, says: str) -> None:
    own.write_text(text)
    with pytest.raises(InvalidPrices, match=says) as caught:
        read_prices()
    assert str(own) in caught.value.message


def test_a_file_that_is_not_there_is_refused(own: Path) -> None:
    with pytest.raises(InvalidPrices, match="cannot be read"):
        read_prices()


def test_usage_adds_up_and_keeps_what_was_not_counted_apart() -> None:
    total = Usage(characters=3) + Usage(characters=4, audio_s=1.5)
    assert total.as_json() == {"characters": 7, "audio_s": 1.5}


def test_every_listed_price_has_a_date_and_a_source() -> None:
    for price in read_prices().listed.values():
        assert price.date.year >= 2024
        assert price.source.startswith("https://openai.com/")
    assert "has not been compared" in BUILTIN.read_text()
