"""Tests for evaluation/exact_ranking.py, against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.exact_ranking import rank_all


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_the_ranking_is_that_of_sorting_all_scores(seed, top_k):
    rng = np.random.default_rng(seed)
    # Whole numbers: exact scores, and many ties for the ids to settle.
    queries, items = rng.integers(-2, 3, (3, 2)), rng.integers(-2, 3, (9, 2))
    ids = [f"i{n}" for n in rng.permutation(9)]
    exclude = [set(rng.choice(ids, 2)) | {"unknown"} for _ in queries]
    expected = [
        sorted(
            (i for i in ids if i not in exclude[q]),
            key=lambda i, q=q: (-(queries[q] @ items[ids.index(i)]), i),
        )[:top_k]
        for q in range(3)
    ]
    assert rank_all(queries, items, ids, top_k=top_k, exclude=exclude) == expected


def test_the_ranking_of_a_query_does_not_depend_on_its_batch():
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(150, 257))
    items = np.tile(rng.normal(size=(67, 257)), (3, 1))  # every item three times: ties
    queries, items = (v / np.linalg.norm(v, axis=1)[:, None] for v in (queries, items))
    ids = [f"i{n:03d}" for n in range(201)]
    together = rank_all(queries, items, ids, top_k=201)
    alone = [rank_all(query[None], items, ids, top_k=201)[0] for query in queries]
    assert together == alone
    for ranked in together:  # n, n + 67 and n + 134 are one item: in order of id
        assert [int(i[1:]) // 67 for i in ranked] == [0, 1, 2] * 67


def test_wrong_input_of_a_ranking_is_refused():
    with pytest.raises(ValueError, match="must have length 2, one per vector, got 1"):
        rank_all(np.eye(2), np.eye(2), ["a"], top_k=1)
    with pytest.raises(ValueError, match="top_k must be >= 1, got 0"):
        rank_all(np.eye(2), np.eye(2), ["a", "b"], top_k=0)
