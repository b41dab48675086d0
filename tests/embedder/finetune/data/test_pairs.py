"""Tests for embedder/finetune/data/pairs.py."""

import random
from dataclasses import replace

import torch

from embedder.content import Content
from embedder.finetune.data.pairs import (
    Negative,
    Pair,
    agree,
    false_negatives,
    foreign_negatives,
)


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


def test_a_known_answer_of_either_query_is_no_negative_of_the_other():
    batch = [
        replace(pair("mug", "1"), answers=frozenset({"1", "3"})),
        pair("cup", "2"),
        pair("hat", "3"),
    ]
    expected = [[True, False, True], [False, True, False], [True, False, True]]
    assert torch.equal(false_negatives(batch), torch.tensor(expected))


def test_pairs_are_found_to_agree_as_each_with_each_would_be():
    rng = random.Random(0)

    def drawn():
        query, target, *answers = (str(rng.randrange(6)) for _ in range(rng.choice([2, 2, 4])))
        return replace(pair(query, target), answers=frozenset(answers))

    for _ in range(20):
        batch = [drawn() for _ in range(9)]
        expected = torch.tensor([[agree(one, other) for other in batch] for one in batch])
        assert torch.equal(false_negatives(batch), expected)


def test_a_hard_negative_speaks_against_the_queries_it_was_mined_for():
    hard = tuple(Negative(Content(key), key) for key in ("8", "9"))
    batch = [
        replace(pair("mug", "1"), negatives=hard),
        pair("cup", "2"),
        replace(pair("mug", "3"), negatives=hard[:1]),
    ]
    expected = [[False, False, False], [True, True, True], [False, False, False]]
    assert torch.equal(foreign_negatives(batch), torch.tensor(expected))
    assert foreign_negatives([pair("mug", "1")]).shape == (1, 0)
