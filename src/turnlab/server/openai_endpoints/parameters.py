"""OpenAI's parameters as those of a Module, where it has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnlab.clusters.plan import Step
from turnlab.errors import InvalidParams
from turnlab.prompts import ChatParams
from turnlab.server.openai_endpoints.failures import BadField

MOST_HISTORY_TOKENS = 1_048_576
"""What ChatParams allows: a client that sends its history means all of it."""

_PASSED_ON = ("frequency_penalty", "presence_penalty", "seed", "stop", "top_p")
"""What a Module that asks another server passes on in its `extra`."""


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """The Module's parameters, and OpenAI's that it has no place for."""

    params: dict[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def mapped(step: Step, values: Mapping[str, tuple[str, Any]]) -> Mapped:
    """`values` by the name that the Module would call each: OpenAI's name for it and the value.

    None stands for what was not given. What `load()` reads stays as the server has it: it may be a
    path, and each value of it would be another model in memory. Raises BadField for a value that
    the Module refuses.
    """
    fields = step.module.Params.model_fields
    params: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    ignored: list[str] = []
    for name, (theirs, value) in values.items():
        if value is None:
            continue
        if name in fields and not _is_loaded(fields[name].json_schema_extra):
            params[name] = value
            _check(step, theirs, {name: value})
        elif "extra" in fields and name in _PASSED_ON:
            extra[name] = value
        else:
            ignored.append(theirs)
    if extra:
        params["extra"] = {**getattr(step.params, "extra", {}), **extra}
    return Mapped(params=params, ignored=tuple(ignored))


def instructed(step: Step, system: str | None) -> Mapped:
    """What a client's own messages change: its instructions and its history, whole."""
    params: dict[str, Any] = {}
    chats = issubclass(step.module.Params, ChatParams)
    if chats:
        params["history_tokens"] = MOST_HISTORY_TOKENS
    if system is None:
        return Mapped(params=params)
    if "system_prompt" not in step.module.Params.model_fields:
        return Mapped(params=params, ignored=("messages[system]",))
    # The Module's examples show what replies to its own instructions are like.
    return Mapped(params={**params, "system_prompt": system, **({"examples": []} if chats else {})})


def _check(step: Step, theirs: str, value: dict[str, Any]) -> None:
    try:
        step.module.check_params({**step.component.params, **value})
    except InvalidParams as error:
        raise BadField(theirs, error.message) from error


def _is_loaded(extra: Any) -> bool:
    return isinstance(extra, dict) and bool(extra.get("loaded"))
