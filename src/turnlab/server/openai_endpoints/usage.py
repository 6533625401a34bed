"""Why a reply ended and what it used, as far as its Module recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlab.clusters.declaration import COMPLETED
from turnlab.clusters.plan import Step
from turnlab.turn_result import TurnResult


def finish_of(result: TurnResult, step: Step) -> str:
    """`stop`, or `length` where a limit of tokens ended it."""
    return "length" if _profile(result, step).get("finish_reason") == "length" else "stop"


def usage_of(result: TurnResult, step: Step) -> dict[str, Any] | None:
    """The tokens of prompt and reply; None unless the Module recorded both."""
    profile = _profile(result, step)
    used = profile.get("usage")
    if not isinstance(used, Mapping):
        own = ("prompt_tokens", "tokens", "cached_tokens")
        theirs = ("input_tokens", "output_tokens", "cached_input_tokens")
        used = {name: profile.get(key) for key, name in zip(own, theirs, strict=True)}
    read, written = used.get("input_tokens"), used.get("output_tokens")
    if read is None or written is None:
        return None
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    cached = used.get("cached_input_tokens")
    return (
        usage if cached is None else {**usage, "prompt_tokens_details": {"cached_tokens": cached}}
    )


def _profile(result: TurnResult, step: Step) -> dict[str, Any]:
    """The result_profile of the Task that performed `step`."""
    name = step.name.removeprefix(COMPLETED)
    task = next((task for task in result.tasks if task.name == name), None)
    return task.result_json.get("result_profile", {}) if task else {}
