"""Judging: what of recorded turns is judged, what comes of it, and how it becomes metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from turnlab.bench.judging.prompt import Score
from turnlab.bench.measuring.measures import Values
from turnlab.conversations import Exchange
from turnlab.errors import TurnlabError
from turnlab.prices import Usage

PREFIX = "judge."
"""Of the metric of a criterion, such as `judge.helpful`."""


@dataclass(frozen=True, kw_only=True)
class RecordedReply:
    """The reply of one completed turn of a Run, and what belongs to it."""

    track_id: str
    cluster: str
    mode: str
    turn_id: str
    repeat: int
    question: str
    """What the Cluster heard."""
    reply: str
    """Empty where it is no longer kept."""
    context: str
    """What retrieval found and what the user felt, as a prompt shows them."""
    history: tuple[Exchange, ...]
    """The completed turns of the Run before it in its Conversation, the newest last."""


@dataclass(frozen=True, kw_only=True)
class ToJudge:
    """A turn whose reply is to be judged; `texts` are those of rubric.FIELDS."""

    track_id: str
    texts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What became of one turn: a score for each criterion, or none and why."""

    track_id: str
    scores: Mapping[str, Score] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    reason: str = ""
    """Why it was not judged: a code and what happened."""
    failure: TurnlabError | None = None
    """The provider's, where that is the reason: nobody knows what the judge would have said."""


@dataclass(frozen=True, kw_only=True)
class JudgeScores:
    """What one judge gave the turns of some Runs. Scores of two judges are never mixed."""

    judge: str = ""
    """Its model; empty where nothing was judged."""
    rubric_hash: str = ""
    by_criterion: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By criterion and track_id."""


def to_judge(reply: RecordedReply, transcript: str | None, reference: str | None) -> ToJudge:
    """What a judge is shown of a reply: what the user said is the dataset's `transcript` where
    there is one, since a Cluster that misheard answered the wrong question."""
    lines = [f"User: {each.text}\nAssistant: {each.reply}" for each in reply.history]
    texts = {
        "question": transcript or reply.question,
        "reply": reply.reply,
        "reference": reference or "",
        "history": "\n".join(lines),
        "context": reply.context,
    }
    return ToJudge(track_id=reply.track_id, texts=texts)


def columns(scores: JudgeScores, track_ids: Sequence[str]) -> dict[str, Values]:
    """By metric, such as `judge.helpful`, the score of each Track, NaN where it has none.

    A criterion by which none of them was judged is left out.
    """
    found = {}
    for criterion, by_track in scores.by_criterion.items():
        values = np.array([by_track.get(each, np.nan) for each in track_ids], dtype=np.float64)
        if np.isfinite(values).any():
            found[f"{PREFIX}{criterion}"] = values
    return found
