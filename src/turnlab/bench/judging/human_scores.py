"""What people gave recorded replies: read from a CSV file, and from a dataset's manifest."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from turnlab.bench.datasets.dataset import DatasetTurn
from turnlab.bench.datasets.keys import LONGEST_PERSON
from turnlab.bench.judging.rubric import Rubric
from turnlab.bench.judging.scores import RecordedReply
from turnlab.errors import InvalidDataset, UnreadableFile

COLUMNS = ("track_id", "turn_id", "cluster", "mode", "repeat", "person", "criterion", "score")
MOST_BYTES = 64 * 1024 * 1024
SHOWN = 10
"""Problems that a message tells; it counts them all."""


@dataclass(frozen=True, kw_only=True)
class HumanScore:
    """What one person gave one Track by one criterion."""

    track_id: str
    person: str
    criterion: str
    score: float


@dataclass(frozen=True, kw_only=True)
class OfManifest:
    """What a manifest's scores say of a Run's replies."""

    scores: Sequence[HumanScore]
    of_other_replies: int
    """Scores that were given to a reply that no Cluster gave here."""


def read_scores_file(
    path: Path, rubric: Rubric, replies: Sequence[RecordedReply]
) -> list[HumanScore]:
    """The scores of a CSV file with the columns person, criterion, score, and either track_id, or
    turn_id and cluster (with mode and repeat where those have several replies).

    Raises UnreadableFile, and InvalidDataset that counts everything that is wrong.
    """
    problems: list[str] = []
    found: dict[tuple[str, str, str], HumanScore] = {}
    finder = _Finder(replies)
    for place, row in _rows(path):
        try:
            scores = _scores_of(row, rubric, finder)
        except ValueError as error:
            problems.append(f"{place}: {error}")
            continue
        for each in scores:
            key = (each.track_id, each.person, each.criterion)
            if found.setdefault(key, each).score != each.score:
                problems.append(f"{place}: {each.person} has given it another score above")
    if problems:
        shown = "\n".join(f"  {each}" for each in problems[:SHOWN])
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise InvalidDataset(f"{path} has {len(problems)} wrong lines:\n{shown}{more}")
    return list(found.values())


def scores_of_manifest(
    rubric: Rubric, replies: Iterable[RecordedReply], turns: Mapping[str, DatasetTurn]
) -> OfManifest:
    """The manifest's scores that were given to the very reply that a Track has.

    They were given to the manifest's `reply`: they say nothing of a reply with other words.
    """
    criteria = {each.name for each in rubric.criteria}
    found, others = [], 0
    for reply in replies:
        turn = turns.get(reply.turn_id)
        if turn is None or not turn.scores:
            continue
        same = turn.reply is not None and _words(turn.reply) == _words(reply.reply)
        for person, by_criterion in turn.scores.items():
            for criterion in criteria & by_criterion.keys():
                score = float(by_criterion[criterion])
                if not same or not rubric.scale.holds(score):
                    others += 1
                    continue
                found.append(
                    HumanScore(
                        track_id=reply.track_id, person=person, criterion=criterion, score=score
                    )
                )
    return OfManifest(scores=found, of_other_replies=others)


class _Finder:
    """Finds the Tracks that a line means."""

    def __init__(self, replies: Sequence[RecordedReply]) -> None:
        self._by_id = {each.track_id: each for each in replies}
        self._by_turn: defaultdict[tuple[str, str], list[RecordedReply]] = defaultdict(list)
        for each in replies:
            self._by_turn[each.turn_id, each.cluster].append(each)

    def find(self, row: Mapping[str, str]) -> list[str]:
        """Their ids. Raises ValueError."""
        if track_id := row.get("track_id"):
            if track_id not in self._by_id:
                raise ValueError(f"the Run has no completed turn {track_id[:200]!r}")
            return [track_id]
        turn_id, cluster = row.get("turn_id", ""), row.get("cluster", "")
        if not turn_id or not cluster:
            raise ValueError("give track_id, or turn_id and cluster")
        found = [
            each
            for each in self._by_turn.get((turn_id, cluster), ())
            if row.get("mode", "") in ("", each.mode)
            and row.get("repeat", "") in ("", str(each.repeat))
        ]
        if not found:
            raise ValueError(f"{cluster[:128]} completed no turn {turn_id[:100]!r} in this Run")
        if len({_words(each.reply) for each in found}) > 1:
            raise ValueError(
                f"{cluster[:128]} gave several replies to {turn_id[:100]!r}: name the track_id, "
                "or mode and repeat"
            )
        return [each.track_id for each in found]


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The lines as columns by name, without the white space around them."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UnreadableFile(f"{path} is larger than {MOST_BYTES >> 20} MiB; split it.")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_head(path, reader.fieldnames or ())
            for row in reader:
                yield (
                    f"line {reader.line_num}",
                    {k: (v or "").strip() for k, v in row.items() if isinstance(k, str)},
                )
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UnreadableFile(f"{path} is no CSV file in UTF-8: {error}.") from error


def _check_head(path: Path, names: Sequence[str]) -> None:
    needed = {"person", "criterion", "score"}
    place = "track_id" in names or {"turn_id", "cluster"} <= set(names)
    if needed - set(names) or not place:
        raise InvalidDataset(
            f"{path}: its first line must name person, criterion, score, and track_id, or turn_id "
            f"and cluster; it names {', '.join(names)[:200] or 'nothing'}."
        )


def _scores_of(row: Mapping[str, str], rubric: Rubric, finder: _Finder) -> list[HumanScore]:
    person, criterion = row.get("person", ""), row.get("criterion", "")
    names = [each.name for each in rubric.criteria]
    if not 1 <= len(person) <= LONGEST_PERSON or not person.isprintable():
        raise ValueError(f"person must have 1 to {LONGEST_PERSON} printable characters")
    if criterion not in names:
        raise ValueError(f"{criterion[:64]!r} is no criterion; there are {', '.join(names)}")
    score = _number(row.get("score", ""))
    if score is None or not rubric.scale.holds(score):
        scale = f"from {rubric.scale.min} to {rubric.scale.max}"
        raise ValueError(f"score {row.get('score', '')[:20]!r} is no number {scale}")
    return [
        HumanScore(track_id=track_id, person=person, criterion=criterion, score=score)
        for track_id in finder.find(row)
    ]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _words(text: str) -> str:
    return " ".join(text.split())
