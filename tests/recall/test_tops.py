"""Tests for recall/tops.py against sorting all scores."""

import numpy as np
import pytest

from recall.tops import MARGIN, ROOM, Tops

CHUNK = 100


def taken(score_NQ, *, limit):
    tops = Tops(score_NQ.shape[1], limit)
    for start in range(0, len(score_NQ), CHUNK):
        tops.take(score_NQ[start : start + CHUNK], start)
    return tops


def scores(*, rows, queries, seed, order):
    score_NQ = np.random.default_rng(seed).normal(size=(rows, queries)).astype(np.float32)
    score_NQ[:: rows // 7] = score_NQ[0]  # ties
    return np.sort(score_NQ, axis=0)[::order] if order else score_NQ


@pytest.mark.parametrize("order", [0, 1, -1], ids=["any order", "worst first", "best first"])
@pytest.mark.parametrize("limit", [1, 3, 12, 99, 100, 400])
@pytest.mark.parametrize("queries", [1, 5])
def test_the_best_are_kept_with_all_that_are_as_good(queries, limit, order):
    score_NQ = scores(rows=350, queries=queries, seed=limit, order=order)
    for rows, score_N in zip(taken(score_NQ, limit=limit).rows(), score_NQ.T, strict=True):
        edge = np.sort(score_N)[-limit:][0]
        assert set(np.flatnonzero(score_N >= edge)) <= set(rows)
        # Only what rounding might lift among the best is kept beside them.
        if limit < len(score_N):
            assert score_N[rows].min() >= edge - 2 * MARGIN
        assert (np.diff(rows) > 0).all()


def test_what_may_not_be_found_is_not_kept():
    score_NQ = scores(rows=350, queries=2, seed=0, order=0)
    score_NQ[::3] = -np.inf
    for rows in taken(score_NQ, limit=300).rows():
        assert set(rows) == set(np.flatnonzero(np.isfinite(score_NQ[:, 0])))


def test_however_many_come_by_few_are_kept():
    worst_first = np.linspace(0, 1, 50 * CHUNK, dtype=np.float32)[:, None]
    tops = Tops(1, 5)
    for start in range(0, len(worst_first), CHUNK):  # each chunk is better than all before it
        tops.take(worst_first[start : start + CHUNK], start)
        assert sum(len(rows) for rows, _, _ in tops._kept) <= ROOM * 5 + CHUNK
    assert tops.rows()[0].tolist() == list(range(50 * CHUNK - 5, 50 * CHUNK))
