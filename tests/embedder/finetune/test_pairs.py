"""Tests for embedder/finetune/pairs.py."""

import torch

from embedder.content import Content
from embedder.finetune.pairs import Pair, false_negatives


def pair(query_key, target_key):
    return Pair(Content(query_key), Content(target_key), query_key, target_key)


def test_what_shares_a_query_or_a_target_is_no_negative():
    batch = [pair("mug", "1"), pair("cup", "1"), pair("mug", "2"), pair("hat", "3")]
    expected = [
        [True, True, True, False],  # the same target, the same query
        [True, True, False, False],
        [True, False, True, False],
        [False, False, False, True],
    ]
    assert torch.equal(false_negatives(batch), torch.tensor(expected))
