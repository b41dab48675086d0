"""Tests for ponder/finetuning/comparison.py: what is scored, on vectors made by hand."""

import numpy as np
import pytest

from embedder.content import Content
from ponder.finetuning.comparison import score, slices
from ponder.finetuning.frozen_set import FrozenQuery, FrozenSet

CONTENTS = {name: Content(name) for name in "abc"}
ITEMS_ND = np.eye(3, dtype=np.float32)


def frozen(*queries):
    return FrozenSet(
        CONTENTS, [FrozenQuery(query_id=str(n), **q) for n, q in enumerate(queries)], ""
    )


def test_a_query_is_scored_by_where_its_right_item_stands():
    near_b = np.array([[0.6, 0.8, 0.0]], np.float32)
    scores = score(frozen({"text": "x", "relevant": ["a"]}), near_b, ITEMS_ND)
    assert scores["hit@1"] == [0]
    assert scores["recall@10"] == [1]
    assert scores["ndcg@10"] == pytest.approx([1 / np.log2(3)])


def test_the_item_that_is_asked_with_is_not_found():
    near_b = np.array([[0.6, 0.8, 0.0]], np.float32)
    scores = score(frozen({"item": "b", "relevant": ["a"]}), near_b, ITEMS_ND)
    assert scores["hit@1"] == [1]


def test_slices_are_the_tiers_and_what_was_held_out():
    asked = frozen(
        {"relevant": ["a"], "tier": "literal"},
        {"relevant": ["a"], "tier": "composed", "held_out": True},
        {"relevant": ["a"], "tier": "literal"},
    )
    found = {name: rows.tolist() for name, rows in slices(asked).items()}
    assert found == {"all": [0, 1, 2], "composed": [1], "literal": [0, 2], "held_out": [1]}
    assert list(slices(frozen({"relevant": ["a"]}))) == ["all"]
