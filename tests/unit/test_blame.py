"""Who is to blame for a broken limit, and how much they would have to give."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.measured_turns import turns_of
from turnlab.bench.measuring.measures import Measured
from turnlab.bench.measuring.metrics import parse_metric
from turnlab.bench.verdicts.blame import Blame, blame
from turnlab.bench.verdicts.budget import parse_limit
from turnlab.bench.verdicts.verdict import Outcome, judge
from turnlab.profiles import SpanKind

STT, LLM, TTS = (
    ("speech2text", SpanKind.MODEL),
    ("llm", SpanKind.MODEL),
    ("text2speech", SpanKind.QUEUE),
)


def blamed(measured: Measured, text: str) -> Blame:
    (found,) = judge(measured, [parse_limit(text)])
    assert found.outcome is Outcome.FAIL
    assert found.blame is not None
    return found.blame


def made_of(stt: float, llm: float, tts: float, count: int = 60) -> Measured:
    """Turns that all take the same."""
    parts = {STT: [stt] * count, LLM: [llm] * count, TTS: [tts] * count}
    return turns_of([stt + llm + tts] * count, parts=parts)


def test_the_component_that_must_change_least_is_to_blame() -> None:
    found = blamed(made_of(0.2, 0.5, 0.3), "voice_to_voice.p95 <= 0.8")
    assert (found.component, found.kind) == ("llm", "model")
    assert found.share_s == pytest.approx(0.5)
    assert found.must_give_s == pytest.approx(0.2)
    assert found.sentence == (
        "llm (model) takes 0.50 s of the 1.00 s at the 95th percentile; "
        "it would have to be 0.20 s (40 %) faster."
    )


def test_what_is_slow_in_the_slow_turns_is_to_blame_not_what_is_slow_on_average() -> None:
    # The queue takes nothing as a rule, and 0.9 s in one turn of six.
    queue = [0.0] * 50 + [0.9] * 10
    parts = {STT: [0.3] * 60, LLM: [0.35] * 60, TTS: queue}
    measured = turns_of([0.65 + each for each in queue], parts=parts)
    found = blamed(measured, "voice_to_voice.p95 <= 1")
    assert (found.component, found.kind) == ("text2speech", "queue")
    assert found.must_give_s == pytest.approx(0.55)


def test_where_no_component_suffices_alone_that_is_said() -> None:
    found = blamed(made_of(0.6, 0.7, 0.5), "voice_to_voice.p95 <= 0.5")
    assert (found.component, found.must_give_s) == ("llm", None)
    assert "even in no time, would not be enough" in found.sentence


def test_quiet_at_the_beginning_of_speech_does_not_delay_the_first_sound() -> None:
    quiet = ("text2speech", SpanKind.PLAYOUT)
    parts = {STT: [0.3] * 60, quiet: [0.5] * 60}
    measured = turns_of([0.8] * 60, parts=parts, first_sound=0.3)
    assert blamed(measured, "voice_to_voice.p95 <= 0.4").kind == "playout"
    assert blamed(measured, "first_sound.p95 <= 0.2").component == "speech2text"


def test_a_limit_on_a_component_blames_it() -> None:
    found = blamed(made_of(0.2, 0.5, 0.3), "speech2text.model.p95 <= 0.15")
    assert found.component == "speech2text"
    assert found.must_give_s == pytest.approx(0.05)


def test_a_limit_on_a_component_speaks_of_all_its_time() -> None:
    times = [0.2 + 0.02 * number for number in range(60)]
    measured = turns_of(times, parts={STT: times})
    whole = float(np.quantile(times, 0.95))
    found = blamed(measured, "speech2text.model.p95 <= 0.2")
    assert found.share_s == pytest.approx(whole)
    assert found.must_give_s == pytest.approx(whole - 0.2)
    assert found.sentence == (
        "speech2text (model) takes 1.32 s at the 95th percentile; "
        "it would have to be 1.12 s (85 %) faster."
    )
    mean = blamed(measured, "speech2text.model.mean <= 0.2")
    assert mean.must_give_s == pytest.approx(float(np.mean(times)) - 0.2)


def test_turns_in_which_a_component_failed_count_as_over_its_limit() -> None:
    measured = turns_of([0.5] * 58 + [None] * 2, parts={STT: [0.5] * 60})
    found = blamed(measured, "speech2text.model.p95 <= 0.2")
    assert found.must_give_s == pytest.approx(0.3)
    assert found.sentence.endswith("faster, as 2 failed turns count as over it.")


def test_of_few_turns_only_those_at_the_percentile_tell_what_a_component_takes() -> None:
    # One turn in twenty is slow, and it is the model that makes it so.
    slow = [0.1] * 19 + [4.0]
    parts = {STT: [0.5] * 20, LLM: slow}
    measured = turns_of([0.5 + each for each in slow], parts=parts)
    text = "voice_to_voice.p99"
    found = blame(measured, parse_limit(f"{text} <= 1.0"), parse_metric(text))
    assert found is not None
    assert (found.component, found.share_s) == ("llm", pytest.approx(4.0))


def test_what_is_no_sum_blames_who_works_longest() -> None:
    parts = {STT: [0.3] * 60, LLM: [0.5] * 60}
    measured = turns_of([0.8] * 60, parts=parts, end=2.0, first_text=0.6)
    for text in ("end.p95 <= 1", "first_text.p95 <= 0.5"):
        found = blamed(measured, text)
        assert (found.component, found.must_give_s) == ("llm", None)


def test_too_many_failures_are_nothing_that_speed_would_mend() -> None:
    measured = turns_of([0.5] * 60 + [None] * 20, parts={STT: [0.5] * 80})
    found = blamed(measured, "voice_to_voice.p95 <= 0.4")
    assert (found.component, found.kind, found.must_give_s) == ("llm", "failed", None)
    assert found.sentence == "llm failed in 20 of the 20 turns that failed (module_timeout)."
    assert blamed(measured, "completed >= 0.99").component == "llm"


def test_errors_in_the_transcript_are_those_of_who_transcribes() -> None:
    parts = {STT: [0.3] * 60, ("emotion_detection", SpanKind.MODEL): [0.1] * 60}
    measured = turns_of([0.4] * 60, parts=parts, word_errors=[3, 2, 4], words=10)
    found = blamed(measured, "wer <= 10%")
    assert (found.component, found.kind) == ("speech2text", "errors")
    assert (
        found.sentence
        == "speech2text makes 180 errors in 600 words; it would have to make 120 fewer."
    )


def test_the_costliest_component_is_to_blame_for_the_cost() -> None:
    measured = turns_of([1.0] * 60, parts={STT: [0.3] * 60, LLM: [0.7] * 60}, cost=0.05)
    measured.components["llm"].cost[:] = 0.04
    measured.components["speech2text"].cost[:] = 0.01
    found = blamed(measured, "cost_per_turn <= $0.03")
    assert found.component == "llm"
    assert "llm costs 0.0400 USD of the 0.0500 USD of a turn" in found.sentence
    assert "0.0200 USD (50 %) cheaper" in found.sentence
    assert "would not be enough" in blamed(measured, "cost_per_turn <= $0.005").sentence


def test_what_turns_cost_that_did_not_complete_is_nobody_s_to_give() -> None:
    parts = {STT: [0.3] * 80, LLM: [0.7] * 80}
    measured = turns_of([1.0] * 60, parts=parts, cost=0.05, cancelled=20)
    measured.components["llm"].cost[:] = 0.04
    measured.components["speech2text"].cost[:] = np.where(measured.counts, 0.01, 9.0)
    found = blamed(measured, "cost_per_turn <= $0.03")
    assert "llm costs 0.0400 USD of the 0.0500 USD of a turn" in found.sentence


def test_a_mean_is_mended_by_what_the_mean_must_give() -> None:
    found = blamed(made_of(0.2, 0.5, 0.3), "voice_to_voice.mean <= 0.9")
    assert found.component == "llm"
    assert found.must_give_s == pytest.approx(0.1)


def test_what_is_given_is_enough() -> None:
    draw = np.random.default_rng(5)
    parts = {
        key: draw.lognormal(np.log(s), 0.3, 300)
        for key, s in zip((STT, LLM, TTS), (0.2, 0.5, 0.1), strict=True)
    }
    whole = np.sum(list(parts.values()), axis=0)
    bound = float(np.quantile(whole, 0.85))
    measured = turns_of(whole.tolist(), parts=parts)
    found = blamed(measured, f"voice_to_voice.p95 <= {bound!r}")
    assert found.share_s is not None
    assert found.must_give_s is not None
    share = found.must_give_s / found.share_s
    after = whole - share * parts[found.component, SpanKind(found.kind)]
    assert (after > bound + 1e-6).sum() <= 15
