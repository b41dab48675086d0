"""Tests for embedder/finetune/data/hard_negatives.py.

Thresholds are held against every one that there is; an encoder reads vectors from texts.
"""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score

from embedder.content import Content, Encoding
from embedder.finetune.data.hard_negatives import f1_threshold, mine, with_hard_negatives
from embedder.finetune.data.pairs import Pair


def brute_threshold(positives, negatives):
    """The highest of the best thresholds among all scores."""
    scores = np.concatenate([positives, negatives])
    labels = np.repeat([1, 0], [len(positives), len(negatives)])
    tried = [(f1_score(labels, scores >= level), level) for level in np.unique(scores)]
    return max(tried)[::-1]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("num_levels", [4, 1000])
def test_the_threshold_is_the_best_of_all_scores(seed, num_levels):
    rng = np.random.default_rng(seed)
    # Few levels: many ties, within and between labels.
    positives = rng.integers(num_levels // 3, num_levels, size=20) / num_levels
    negatives = rng.integers(0, num_levels, size=60) / num_levels
    threshold, f1 = f1_threshold(positives, [negatives[:7], negatives[7:]])
    expected_threshold, expected_f1 = brute_threshold(positives, negatives)
    assert threshold == expected_threshold
    assert f1 == pytest.approx(expected_f1, abs=1e-12)


def test_of_equally_good_thresholds_the_highest_is_taken():
    # From 0.9: 1 of 2 found, none wrong: 2 / (1 + 2). From 0.5: 2 of 2, two wrong: 4 / (4 + 2).
    assert f1_threshold(np.array([0.9, 0.5]), [np.array([0.7, 0.6])]) == (0.9, pytest.approx(2 / 3))


def test_a_threshold_without_positives_is_refused():
    with pytest.raises(ValueError, match="needs labelled pairs, got none"):
        f1_threshold(np.array([]), [np.array([0.5])])


def on_circle(*cosines):
    """Unit vectors with these cosines to (1, 0)."""
    return np.array([(c, np.sqrt(1 - c * c)) for c in cosines])


def test_hard_negatives_are_the_highest_below_the_threshold():
    targets = on_circle(0.9, 0.95, 0.5, 0.7, 0.2)
    mined = mine(np.array([[1.0, 0.0]]), targets, np.array([[0, 0]]), num_negatives=2)
    # From 0.9 on: the label and target 1, which is dropped; F1 = 2 / (2 + 1).
    assert mined.threshold == pytest.approx(0.9, abs=1e-6)
    assert mined.f1 == pytest.approx(2 / 3)
    assert mined.num_dropped == 1
    assert mined.rows_QH.tolist() == [[3, 2]]


def test_an_unlabelled_pair_right_at_the_threshold_is_dropped():
    query = np.array([[1.0, 0.0]])
    mined = mine(query, on_circle(0.9, 0.9, 0.5), np.array([[0, 0]]), num_negatives=1)
    assert mined.num_dropped == 1
    assert mined.rows_QH.tolist() == [[2]]


def test_a_label_below_the_threshold_is_no_negative():
    targets = on_circle(0.9, 0.8, 0.7, 0.6, 0.5, 0.1)
    mined = mine(np.array([[1.0, 0.0]]), targets, np.array([[0, 0], [0, 5]]), num_negatives=2)
    assert mined.threshold == pytest.approx(0.9, abs=1e-6)  # 2 / 3, against 4 / 8 from 0.1 on
    assert mined.rows_QH.tolist() == [[1, 2]]


def test_ties_go_to_the_lower_row_and_missing_ones_are_padded():
    query = np.array([[1.0, 0.0]])
    many = on_circle(0.9, *[0.3, 0.2] * 20)
    mined = mine(query, many, np.array([[0, 0]]), num_negatives=4)
    assert mined.rows_QH.tolist() == [[1, 3, 5, 7]]
    few = on_circle(0.9, 0.3, 0.3, 0.3)
    padded = mine(query, few, np.array([[0, 0]]), num_negatives=5).rows_QH
    assert padded.tolist() == [[1, 2, 3, -1, -1]]


@pytest.mark.parametrize("max_scores", [1, 35, 10**6])
def test_mining_equals_brute_force_however_it_is_cut(max_scores):
    rng = np.random.default_rng(5)
    queries, targets = rng.normal(size=(9, 4)), rng.normal(size=(15, 4))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    scores = (queries @ targets.T).astype(np.float32)
    labels = (scores > 0.8) ^ (rng.random(scores.shape) < 0.05)
    mined = mine(
        queries, targets, np.argwhere(labels)[::-1], num_negatives=3, max_scores=max_scores
    )
    threshold, f1 = brute_threshold(scores[labels], scores[~labels])
    assert mined.threshold == pytest.approx(threshold, abs=1e-7)
    assert mined.f1 == pytest.approx(f1, abs=1e-12)
    assert mined.num_dropped == ((scores >= threshold) & ~labels).sum() > 0
    for row, mined_row in enumerate(mined.rows_QH):
        below = np.flatnonzero((scores[row] < threshold) & ~labels[row])
        assert mined_row.tolist() == sorted(below, key=lambda column: -scores[row, column])[:3]


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
