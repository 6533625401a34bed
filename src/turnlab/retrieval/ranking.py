"""Which vectors are nearest to a question's: exact, over all of them."""

from __future__ import annotations

import numpy as np

from turnlab.retrieval.stores import SCORE_DIGITS, Vectors

_SLACK = 1e-5
"""More than two float32 sums of the same products can differ by."""


def ranked(
    matrix: Vectors, vector: Vectors, top_k: int, min_score: float
) -> list[tuple[int, float]]:
    """The best `top_k` rows of at least `min_score` with their scores, best first.

    `matrix` has rows of length 1, shape (n, d), `vector` has shape (d,); the score is their
    product, the cosine, rounded to SCORE_DIGITS. Equal scores keep the order of the rows.
    """
    if not len(matrix):
        return []
    # On this thread alone: `@` would share the work among threads that then wait for each other
    # when other stages want the cores (medians of up to 12 ms instead of 1).
    rough = np.vecdot(matrix, vector)
    least = min_score - _SLACK
    if top_k < len(rough):
        least = max(least, float(np.partition(rough, -top_k)[-top_k]) - _SLACK)
    rows = np.flatnonzero(rough >= least)
    # Again in float64 and row by row, so that equal rows have equal scores.
    exact = np.einsum("ij,j->i", matrix[rows].astype(np.float64), vector.astype(np.float64))
    scores = np.round(exact, SCORE_DIGITS)
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [(int(rows[i]), float(scores[i])) for i in order if scores[i] >= min_score]
