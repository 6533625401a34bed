"""What is compared: each variant is a worker of its own, with its own environment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from turnlab.audio import Pace
from turnlab.cli.session import find_parts
from turnlab.clusters import Plan, make_plan
from turnlab.phrases import _CONNECTIVES
from turnlab.prompts import chat
from turnlab.tracks import Mode

CLUSTER = "CLUSTER_Q_NO_EMOTION_ETE_CONVERSATION"

PLAIN = "benchmarks.parts.plain_script"
LEVERS = "benchmarks.parts.plain_levers"
TURNLAB = "benchmarks.parts.turnlab_worker"

NAIVE_THREADS = {"GOMP_SPINCOUNT": None, "MOONSHINE_ORT_SINGLE_THREAD": "0"}
SHARED_THREADS = {"GOMP_SPINCOUNT": "200", "MOONSHINE_ORT_SINGLE_THREAD": "1"}
OWN_THREADS: dict[str, str | None] = dict.fromkeys(NAIVE_THREADS)

REPLIES = {"max_tokens": 60, "end_whole": False}
"""Of the language model, everywhere: the plain scripts end replies by their length alone."""

OFF: dict[str, dict[str, Any]] = {
    "speech2text": {"during_speech": False, "whole_s": 0, "pad_s": 0},
    "quantization_llm": {"prefill": False, "low_priority": False},
    "text2speech": {"first_limit": 0, "trim": False},
}
"""The levers that are parameters, all pulled back."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A worker: the program, its environment (None: not set) and what it is told."""

    name: str
    program: str = TURNLAB
    pace: Pace = Pace.FAST
    mode: Mode = Mode.STREAMED
    yielding: bool = True
    share_cores: bool = True
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, str | None] = field(default_factory=lambda: dict(OWN_THREADS))

    def settings(self) -> dict[str, Any]:
        """The first line that the worker reads."""
        if self.program != TURNLAB:
            return plain_settings()
        return {
            "cluster": CLUSTER,
            "mode": self.mode,
            "yielding": self.yielding,
            "share_cores": self.share_cores,
            "params": self.params,
        }


def compared() -> list[Variant]:
    """The plain scripts and Turnlab, with and without its levers."""
    naive: dict[str, str | None] = dict(NAIVE_THREADS)
    shared: dict[str, str | None] = dict(SHARED_THREADS)
    plain = Variant(name="plain", program=PLAIN, environment=naive)
    levers = Variant(name="plain_levers", program=LEVERS, environment=shared)
    off = Variant(
        name="turnlab_off", yielding=False, share_cores=False, params=OFF, environment=naive
    )
    turnlab = Variant(name="turnlab")
    return [
        plain,
        off,
        levers,
        turnlab,
        replace(turnlab, name="turnlab_chained", mode=Mode.CHAINED),
        replace(off, name="turnlab_chained_off", mode=Mode.CHAINED),
        _live(plain),
        _live(levers),
        _live(turnlab),
    ]


def ablated() -> list[Variant]:
    """Turnlab as it is, and with each lever pulled back alone, at both paces."""
    turnlab = Variant(name="turnlab")
    naive: dict[str, str | None] = dict(NAIVE_THREADS)
    whole = [
        turnlab,
        replace(turnlab, name="without_yielding", yielding=False),
        _without("text2speech", "first_limit", 0),
        _without("text2speech", "trim", False),
        replace(turnlab, name="without_threads", share_cores=False, environment=naive),
    ]
    heard = [_without("quantization_llm", "prefill", False)]
    heard += [_without("speech2text", "during_speech", False)]
    return [*whole, *(_live(each) for each in [*whole, *heard])]


def plain_settings() -> dict[str, Any]:
    """What the plain scripts use too: prompt, sampling and cutting, as Turnlab has them."""
    steps: dict[str, Any] = {step.name: step.params for step in local_plan({}).steps}
    model, voice, ears = (
        steps[name] for name in ("quantization_llm", "text2speech", "speech2text")
    )
    names = (
        "context_tokens",
        "batch_tokens",
        "max_tokens",
        "temperature",
        "repeat_penalty",
        "seed",
        "stop",
    )
    return {
        "messages": chat(model, "", ())[:-1],
        **{name: getattr(model, name) for name in names},
        "first_words": voice.first_words,
        "first_limit": voice.first_limit,
        "connectives": sorted(_CONNECTIVES),
        "update_interval_s": ears.update_interval_s,
    }


def local_plan(params: dict[str, dict[str, Any]]) -> Plan:
    """The local Cluster, some parameters overridden."""
    parts = find_parts(None, None)
    replies = {**REPLIES, **params.get("quantization_llm", {})}
    overrides = {**params, "quantization_llm": replies}
    return make_plan(parts.catalogue.get(CLUSTER), parts.registry, overrides)


def _live(variant: Variant) -> Variant:
    return replace(variant, name=f"{variant.name}_realtime", pace=Pace.REALTIME)


def _without(component: str, param: str, value: Any) -> Variant:
    return Variant(name=f"without_{param}", params={component: {param: value}})
