"""Tests for embedder/engine/batches.py: batches of a token budget."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedder.engine.batches import longest_first, padded_tokens, token_budget_batches
from embedder.engine.memory import ShrinkingLimit
from embedder.prompting.sample import Sample


def sample(length, side=0):
    if not side:
        return Sample([0] * length)
    return Sample([0] * length, np.zeros((side * side, 3)), ((1, side, side),))


prompts = st.builds(sample, st.integers(1, 90), st.sampled_from([0, 0, 2, 4]))


@given(st.lists(prompts, max_size=60), st.integers(1, 200))
def test_batches_hold_every_row_once_and_keep_the_budget(samples, tokens):
    batches = list(token_budget_batches(samples, ShrinkingLimit(tokens)))
    assert sorted(row for batch in batches for row in batch) == list(range(len(samples)))
    for batch in batches:
        assert len(batch) == 1 or padded_tokens([samples[row] for row in batch]) <= tokens


@given(st.lists(prompts, max_size=60), st.integers(1, 200))
def test_a_batch_has_images_or_none_and_equal_images_side_by_side(samples, tokens):
    for batch in token_budget_batches(samples, ShrinkingLimit(tokens)):
        grids = [samples[row].grids for row in batch]
        assert len({bool(grid) for grid in grids}) == 1
        changes = sum(a != b for a, b in pairwise(grids))
        assert changes == len(set(grids)) - 1


def test_batches_of_one_size_begin_with_the_longest():
    samples = [sample(n) for n in (3, 9, 5, 9)]
    assert list(longest_first(samples, batch_size=3)) == [[1, 3, 2], [0]]


def test_the_longest_come_first():
    batches = list(token_budget_batches([sample(n) for n in (3, 9, 5)], ShrinkingLimit(9)))
    assert batches == [[1], [2], [0]]


def test_a_budget_that_is_lowered_holds_from_the_next_batch_on():
    samples = [sample(10) for _ in range(8)]
    budget = ShrinkingLimit(40)
    drawn = token_budget_batches(samples, budget)
    assert len(next(drawn)) == 4
    budget.lower(20)
    assert [len(batch) for batch in drawn] == [2, 2]
