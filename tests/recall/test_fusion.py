"""Tests for recall/fusion.py."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall.fusion import interleaved, reciprocal_rank_fusion

LISTS = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), min_size=1, max_size=4)


@given(LISTS)
def test_fused_scores_are_the_sums_of_reciprocal_ranks_in_order(lists):
    fused = reciprocal_rank_fusion(lists)
    expected = {
        item: sum(Fraction(1, 61 + ranked.index(item)) for ranked in lists if item in ranked)
        for item in {item for ranked in lists for item in ranked}
    }
    assert fused == pytest.approx({item: float(score) for item, score in expected.items()})
    assert list(fused) == sorted(fused, key=lambda item: (-fused[item], item))


@given(LISTS, st.integers(0, 12))
def test_every_item_is_taken_once_and_from_a_list_that_has_it(lists, limit):
    taken = interleaved(lists, [1.0] * len(lists), limit=limit)
    ids = [item for item, _ in taken]
    assert len(ids) == len(set(ids)) == min(limit, len({i for ranked in lists for i in ranked}))
    assert all(item in lists[number] for item, number in taken)


def test_lists_give_in_proportion_to_their_weights_at_every_depth():
    lists = [[f"{name}{n}" for n in range(100)] for name in "abc"]
    taken = interleaved(lists, [0.5, 0.3, 0.2], limit=50)
    assert [sum(number == n for _, number in taken) for n in range(3)] == [25, 15, 10]
    assert [number for _, number in taken[:5]] == [0, 1, 0, 2, 0]
    order = [item for item, number in taken if number == 1]
    assert order == lists[1][:15]
