"""Tests for ponder/finetuning/space_comparison.py, on spaces made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from embedder.content import Content
from evaluation.bootstrap import Interval
from evaluation.query_sets import Query
from ponder.finetuning.frozen_set import FrozenSet
from ponder.finetuning.space_comparison import compare_spaces

ANGLES = {"a": 0, "b": 10, "c": 30, "d": 70}


class Circle:
    """Puts items on a circle, at degrees by their text."""

    version = "circle"

    def __init__(self, angles):
        self.angles = angles

    def encode_items(self, items, *, policy, progress):
        assert policy == "never"
        progress(len(items))
        radians = np.radians([self.angles[item.text] for item in items])
        return [SimpleNamespace(vector=v) for v in np.stack([np.cos(radians), np.sin(radians)], 1)]


def test_an_item_finds_those_that_followed_it_by_the_vectors_of_items():
    asked = {"a": ["b"], "b": ["d"]}
    frozen = FrozenSet(
        {name: Content(name) for name in "abcd"},
        [Query(query_id=item, item=item, relevant=who) for item, who in asked.items()],
        "digest",
    )
    told = []
    turned = {"a": 0, "b": 10, "c": 40, "d": 18}
    report = compare_spaces(
        frozen, Circle(turned), {"content": Circle(ANGLES)}, progress=told.append
    )
    # From a the next is b in both. From b the order is d, a, c when turned; a, c, d before.
    assert report.metrics["behaviour"] == {"hit@1": 1, "recall@10": 1, "ndcg@10": 1}
    third = 1 / np.log2(4)
    assert report.metrics["content"]["hit@1"] == 0.5
    assert report.metrics["content"]["ndcg@10"] == pytest.approx((1 + third) / 2)
    assert report.gain["content"]["ndcg@10"].mean == pytest.approx((1 - third) / 2)
    assert report.gain["content"]["recall@10"] == Interval(0, 0, 0)
    assert (report.num_queries, report.digest, sum(told)) == (2, "digest", 8)
