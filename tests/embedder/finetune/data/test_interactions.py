"""Tests for embedder/finetune/data/interactions.py."""

import numpy as np
import polars as pl

from embedder.finetune.data.interactions import interaction_matrix


def test_likes_are_counted_once_and_sorted_by_id():
    rows = pl.DataFrame({"user_id": ["v", "u", "v"], "item_id": ["b", "b", "a"]})
    liked = interaction_matrix(pl.concat([rows, rows]))
    assert liked.item_ids == ["a", "b"]
    np.testing.assert_array_equal(liked.liked_UI.toarray(), [[0, 1], [1, 1]])
