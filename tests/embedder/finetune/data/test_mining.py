"""Tests for embedder/finetune/data/mining.py, with an encoder that reads vectors from texts."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from embedder.content import Content, Encoding
from embedder.finetune.data.mining import with_hard_negatives
from embedder.finetune.data.pairs import Pair


class Angles:
    """Reads a text as an angle in degrees, and remembers what it was asked."""

    version, dim = "angles", 2

    def __init__(self):
        self.seen = []

    def encode_query(self, queries, *, policy=None):
        return self._encode("query", queries, policy)

    def encode_items(self, items, *, policy=None):
        return self._encode("items", items, policy)

    def _encode(self, side, contents, policy):
        self.seen.append((side, [content.text for content in contents], policy))
        angles = np.radians([float(content.text) for content in contents])
        rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        return [Encoding(row, "direct", 0.0) for row in rows]


def pair(query, target, *, source="s", answers=()):
    return Pair(
        Content(str(query)),
        Content(str(target)),
        f"q{query}",
        f"t{target:03d}",
        source=source,
        answers=frozenset(answers),
    )


def negatives(pairs):
    return [[negative.key for negative in pair.negatives] for pair in pairs]


def test_every_pair_gets_what_is_near_its_query_and_not_as_near_as_an_answer():
    pairs = [pair(0, 10), pair(90, 80), pair(180, 170)]
    hardened, report = with_hard_negatives(pairs, lambda source: Angles(), num_negatives=1)
    # Every answer is at 10 degrees; nothing else is nearer than 80.
    assert negatives(hardened) == [["t080"], ["t010"], ["t080"]]
    assert report["threshold"][0] == pytest.approx(np.cos(np.radians(10)), abs=1e-6)
    assert report.drop("threshold").rows() == [("s", 1.0, 3, 3, 0, 3)]
    assert [negative.content for negative in hardened[0].negatives] == [Content("80")]


def test_a_known_answer_is_no_negative_and_a_near_unknown_one_is_dropped():
    near = [pair(0, 10), pair(90, 100), pair(50, 5), pair(51, 40)]
    hardened, report = with_hard_negatives(near, lambda source: Angles(), num_negatives=4)
    # Labels at 10, 10, 45 and 11 degrees: the threshold is 11, and 0 to 5 is dropped.
    assert report["threshold"][0] == pytest.approx(np.cos(np.radians(11)), abs=1e-6)
    assert hardened[0].negatives[0].key == "t040"
    assert report["num_dropped"][0] == 2  # 50 to 40 as well
    known = [pair(0, 10, answers=["t040"]), *near[1:]]
    hardened, _ = with_hard_negatives(known, lambda source: Angles(), num_negatives=1)
    assert negatives(hardened)[0] == ["t100"]


def test_sources_are_mined_apart_each_with_its_own_encoder():
    encoders = {"a": Angles(), "b": Angles()}
    pairs = [pair(0, 10, source="b"), pair(0, 20, source="a"), pair(90, 80, source="b")]
    hardened, report = with_hard_negatives(pairs, encoders.__getitem__, num_negatives=5)
    assert report["source"].to_list() == ["a", "b"]
    assert negatives(hardened) == [["t080"], [], ["t010"]]
    assert [pair.target_key for pair in hardened] == ["t010", "t020", "t080"]
    assert encoders["a"].seen == [("query", ["0"], "never"), ("items", ["20"], "never")]


def test_equal_keys_are_embedded_once_and_share_their_negatives():
    encoder = Angles()
    pairs = [pair(0, 10), pair(0, 350), pair(90, 10), pair(90, 80)]
    hardened, _ = with_hard_negatives(pairs, lambda source: encoder, num_negatives=1)
    assert {len(texts) for _, texts, _ in encoder.seen} == {2, 3}
    assert hardened[0].negatives == hardened[1].negatives


def test_of_contents_with_equal_keys_the_first_is_embedded():
    encoder = Angles()
    pairs = [pair(0, 10), replace(pair(0, 10), query=Content("1"), target=Content("11"))]
    with_hard_negatives(pairs, lambda source: encoder, num_negatives=1)
    assert [texts for _, texts, _ in encoder.seen] == [["0"], ["10"]]


def test_no_pairs_give_an_empty_report():
    hardened, report = with_hard_negatives([], lambda source: Angles(), num_negatives=1)
    assert hardened == []
    assert report.schema["source"] == pl.String
    assert report.is_empty()
