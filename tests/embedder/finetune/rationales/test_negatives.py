"""Tests for negatives.py: negatives that are negatives, the hardest first."""

import random

from embedder.content import Content
from embedder.finetune.data.pairs import Negative, Pair
from embedder.finetune.rationales.negatives import negatives_of


def pair(number, **options):
    keys = (f"q{number}", f"t{number}", f"p{number}")
    return Pair(Content(f"query {number}"), Content(f"target {number}"), *keys, **options)


def test_hard_negatives_come_first_and_others_fill_up():
    hard = tuple(Negative(Content(f"hard {n}"), f"h{n}") for n in range(2))
    pairs = [pair(0, negatives=hard), *(pair(n) for n in range(1, 9))]
    negatives = negatives_of(pairs, num_others=4, seed=0)["p0"]
    assert negatives.items[:2] == tuple(negative.content for negative in hard)
    assert len(set(negatives.items)) == 4
    assert len(set(negatives.queries)) == 4
    targets = {Content(f"target {n}") for n in range(1, 9)}
    assert set(negatives.items[2:]) <= targets


def test_what_belongs_together_is_no_contrast():
    pairs = [
        pair(0, answers=frozenset({"t1"})),
        pair(1),
        Pair(Content("query 0"), Content("target 2"), "q0", "t2", "p2"),
        Pair(Content("query 3"), Content("target 0"), "q3", "t0", "p3"),
        pair(4, source="elsewhere"),
        pair(5),
    ]
    found = negatives_of(pairs, num_others=6, seed=0)
    assert found["p0"].items == (Content("target 5"),)
    assert found["p0"].queries == (Content("query 5"),)
    assert found["p4"].items == ()


def test_a_contrast_does_not_depend_on_the_order_of_the_pairs():
    pairs = [pair(n) for n in range(30)]
    shuffled = random.Random(1).sample(pairs, len(pairs))
    assert negatives_of(pairs, num_others=3, seed=7) == negatives_of(shuffled, num_others=3, seed=7)
    assert negatives_of(pairs, num_others=3, seed=7) != negatives_of(pairs, num_others=3, seed=8)
