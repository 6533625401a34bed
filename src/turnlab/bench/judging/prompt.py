"""What a judge is asked, and what it answers: messages, their JSON schema, scores."""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnlab.bench.judging.rubric import FIELDS, INSTRUCTIONS, Rubric
from turnlab.errors import NotJudged
from turnlab.prompts import Message, plain

REASON_CHARACTERS = 500
"""Most of a reason that is kept."""

_FENCE = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one criterion was given, and why."""

    score: int
    reason: str


def messages(rubric: Rubric, texts: Mapping[str, str]) -> list[Message]:
    """What a judge is sent of a turn; `texts` are the FIELDS, empty where there is none.

    The marks around the texts are made of the texts themselves, so that nothing in them can
    close one.
    """
    told = json.dumps([rubric.hash, *(texts.get(name, "") for name in FIELDS)])
    mark = hashlib.sha256(told.encode()).hexdigest()[:12]
    system = f"{INSTRUCTIONS.format(mark=mark)}\n\n{_rubric(rubric)}\n\n{_form(rubric)}"
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": _filled(rubric.prompt_template, texts, mark)},
    ]


def correction(answer: str, problem: str) -> list[Message]:
    """What is sent after an answer that cannot be used."""
    again = f"That cannot be used: {problem} Answer again, with the one JSON object only."
    return [
        {"role": "assistant", "content": answer[:2_000] or "(nothing)"},
        {"role": "user", "content": again},
    ]


def response_format(rubric: Rubric) -> dict[str, Any]:
    """The answer's JSON schema, as OpenAI's chat takes it."""
    scale = rubric.scale
    score = {"type": "integer", "enum": list(range(scale.min, scale.max + 1))}
    fields = {"reason": {"type": "string"}, "score": score}
    criteria = {each.name: _closed(fields) for each in rubric.criteria}
    form = {"name": "judgement", "strict": True, "schema": _closed(criteria)}
    return {"type": "json_schema", "json_schema": form}


def read_scores(rubric: Rubric, answer: str) -> dict[str, Score]:
    """The scores of an answer by criterion.

    Raises NotJudged that says what is wrong: no JSON, a criterion too few or too many, a score
    that is none of the scale. Nothing is rounded, clipped or guessed.
    """
    text = answer.strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1]
    try:
        found = json.loads(text, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise NotJudged("The answer is no JSON object.") from error
    if not isinstance(found, dict):
        raise NotJudged("The answer is no JSON object.")
    names = [each.name for each in rubric.criteria]
    if missing := [name for name in names if name not in found]:
        raise NotJudged(f"The answer has no score for {', '.join(missing)}.")
    if unknown := [str(name)[:40] for name in found if name not in names]:
        raise NotJudged(f"The answer has {', '.join(unknown[:5])}, which is no criterion.")
    return {name: _score(rubric, name, found[name]) for name in names}


def _score(rubric: Rubric, name: str, given: Any) -> Score:
    value: Any = given.get("score") if isinstance(given, dict) else given
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    scale = rubric.scale
    if not isinstance(value, int) or isinstance(value, bool) or not scale.holds(value):
        raise NotJudged(
            f"The score of {name} is {json.dumps(value)[:40]}, not a whole number from "
            f"{scale.min} to {scale.max}."
        )
    reason = given.get("reason") if isinstance(given, dict) else ""
    words = " ".join(reason.split()) if isinstance(reason, str) else ""
    return Score(score=value, reason=words[:REASON_CHARACTERS])


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a criterion that is scored twice nobody knows which score is meant."""
    if len(dict(pairs)) < len(pairs):
        raise NotJudged("The answer names something twice.")
    return dict(pairs)


def _rubric(rubric: Rubric) -> str:
    scale = rubric.scale
    lines = [f"Scores are whole numbers from {scale.min} to {scale.max}. The criteria:"]
    for criterion in rubric.criteria:
        lines.append(f"\n{criterion.name}: {criterion.ask}")
        meanings = sorted(criterion.scores.items(), key=lambda item: int(item[0]))
        lines += [f"  {score}: {meaning}" for score, meaning in meanings]
    for number, example in enumerate(rubric.examples, 1):
        lines += [f"\nExample {number}", f"  The user says: {example.question}"]
        lines += [f"  Reference: {example.reference}"] if example.reference else []
        lines += [f"  The assistant replies: {example.reply}"]
        scores = ", ".join(f"{name} {score}" for name, score in example.scores.items())
        lines += [f"  Scores: {scores}{f' ({example.why})' if example.why else ''}"]
    return "\n".join(lines)


def _form(rubric: Rubric) -> str:
    # Any score in it would be one that the model leans to.
    parts = [f'"{each.name}": {{"reason": TEXT, "score": NUMBER}}' for each in rubric.criteria]
    return f"Answer with one JSON object of this form and nothing else: {{{', '.join(parts)}}}"


def _filled(template: str, texts: Mapping[str, str], mark: str) -> str:
    parts = []
    for literal, name, _, _ in string.Formatter().parse(template):
        parts.append(literal)
        if name is not None:
            text = plain(texts.get(name, "")).strip()
            parts.append(f"<{name}-{mark}>\n{text}\n</{name}-{mark}>" if text else "(none)")
    return "".join(parts)


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
