"""The critical path of a simulated turn: whose time it was, and what went into it."""

from __future__ import annotations

from turnlab.bench.predict.stage import Playing

KINDS = ("model", "crowding", "queue", "transfer", "playout")
"""Work as if alone; what others on the cores add to it; waiting for a place, for what has gone
before or for the cores; from one Component to the next; quiet that leads the sound."""

MODEL, CROWDING, QUEUE, TRANSFER, PLAYOUT = range(len(KINDS))


def path_of(playing: Playing) -> list[list[float]]:
    """Seconds by Component and kind, from the last voiced sample to the first audible one."""
    found = [[0.0] * len(KINDS) for _ in playing.scene.roles]
    place, number = playing.scene.speaker, playing.heard_piece
    if number < 0:
        return found
    zero_s = playing.start_s + playing.scene.zero_s
    found[place][PLAYOUT] += playing.heard_s - playing.read_s
    at_s = playing.read_s
    while number >= 0 and at_s > zero_s:
        piece = playing.done[place][number]
        found[place][TRANSFER] += at_s - max(piece.ended_s, zero_s)
        took_s = max(0.0, piece.ended_s - max(piece.began_s, zero_s))
        alone_s = min(took_s, piece.piece.work_s)
        found[place][MODEL] += alone_s
        found[place][CROWDING] += took_s - alone_s
        lag_s = max(0.0, piece.began_s - max(piece.ready_s, zero_s))
        lately_s = min(lag_s, piece.piece.lag_s)
        found[place][TRANSFER] += lately_s
        found[place][QUEUE] += lag_s - lately_s
        at_s = max(piece.ready_s, zero_s)
        if piece.cause is not None:
            other, milestone = piece.cause
            if other < 0:
                return found
            found[place][TRANSFER] += max(
                0.0, at_s - max(playing.reached[other][milestone - 1], zero_s)
            )
            at_s = playing.reached[other][milestone - 1]
            place, number = other, playing.made_by[other][milestone - 1]
        elif number > 0:
            number -= 1
        else:
            number = _begun(playing, place, found, zero_s)
            if number < 0:
                return found
            at_s = playing.created_s[place]
            other, milestone = playing.begun_by[place] or (0, 1)
            place = other
    return found


def _begun(playing: Playing, place: int, found: list[list[float]], zero_s: float) -> int:
    """Where a Component waited for its place and for its moment: the piece that gave it."""
    created_s, claimed_s = playing.created_s[place], playing.claimed_s[place]
    found[place][QUEUE] += max(0.0, claimed_s - max(created_s, zero_s))
    begun_by = playing.begun_by[place]
    if begun_by is None:
        return -1
    other, milestone = begun_by
    return playing.made_by[other][milestone - 1]
