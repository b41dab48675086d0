"""Tests for selection.py: gains, decisions and weights by arithmetic."""

import math

import numpy as np
import polars as pl
import pytest

from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.finetune.rationales.config import SelectionConfig
from embedder.finetune.rationales.judging import JUDGED
from embedder.finetune.rationales.selection import select, training_examples
from embedder.finetune.records import TrainingExample, WeightedRationale


def row(pair_id, text, odds, *, side="query", worker="w"):
    """One judgement; `odds` are without, with, with_shuffled, gain_on_negatives."""
    identity = (pair_id, "clicks", side, "k", worker, "1", text, f"sum {text}", 3, [])
    return (*identity, *odds)


def judged(*rows):
    return pl.DataFrame(list(rows), schema=JUDGED, orient="row")


def gain(*odds, against_shuffled=True):
    rows = judged(row("p", "r", odds))
    return select(rows, SelectionConfig(), against_shuffled=against_shuffled)["gain"].item()


def test_the_gain_is_with_minus_without():
    assert gain(1.0, 3.5, None, None) == 2.5


def test_what_negatives_gain_is_taken_off():
    assert gain(1.0, 3.5, None, 0.75) == 1.75


def test_a_shuffled_rationale_must_be_beaten_too():
    assert gain(1.0, 3.5, 3.0, None) == 0.5
    assert gain(1.0, 3.5, -9.0, None) == 2.5
    assert gain(1.0, 3.5, 3.0, 2.25) == 0.25


def test_a_shuffled_rationale_that_was_judged_for_the_account_alone_counts_for_nothing():
    assert gain(1.0, 3.5, 3.0, None, against_shuffled=False) == 2.5
    assert gain(1.0, 3.5, math.nan, None, against_shuffled=False) == 2.5


@pytest.mark.parametrize("failed", range(4))
def test_a_judge_that_failed_anywhere_gives_no_gain_and_nothing_is_kept(failed):
    odds = [1.0, 3.0, 2.0, 0.5]
    odds[failed] = math.nan
    rows = judged(row("p", "r", odds))
    selected = select(rows, SelectionConfig(min_gain=-99), against_shuffled=True)
    assert math.isnan(selected["gain"].item())
    assert selected.select("kept", "weight").row(0) == (False, 0.0)


def test_what_was_not_judged_is_not_kept():
    selected = select(judged(row("p", "r", (None,) * 4)), SelectionConfig(min_gain=-99))
    assert selected.select("gain", "kept", "weight").row(0) == (None, False, 0.0)


def test_the_weights_are_a_softmax_over_what_is_kept_of_one_side_of_one_pair():
    rows = judged(
        row("p", "a", (0.0, 2.0, None, None)),
        row("p", "b", (0.0, 1.0, None, None)),
        row("p", "zero", (0.0, 0.0, None, None)),
        row("p", "c", (0.0, 9.0, None, None), side="item"),
        row("o", "d", (0.0, 5.0, None, None)),
    )
    selected = select(rows, SelectionConfig(temperature=0.5))
    a, b = math.exp(2.0 / 0.5), math.exp(1.0 / 0.5)
    np.testing.assert_allclose(selected["weight"], [a / (a + b), b / (a + b), 0, 1, 1], rtol=1e-12)
    assert selected["kept"].to_list() == [True, True, False, True, True]
    stricter = select(rows, SelectionConfig(min_gain=1.0))
    assert stricter["weight"].to_list() == [1, 0, 0, 1, 1]


def test_large_gains_do_not_overflow():
    rows = judged(row("p", "a", (0.0, 2e3, None, None)), row("p", "b", (0.0, 1e3, None, None)))
    assert select(rows, SelectionConfig())["weight"].to_list() == [1.0, 0.0]


def test_an_example_has_the_kept_rationales_and_a_side_without_any_is_direct():
    pairs = [Pair(Content("q"), Content("t"), "q", "t", name) for name in ("p", "o", "n")]
    rows = judged(
        row("p", "b", (0.0, 1.0, None, None), worker="y"),
        row("p", "a", (0.0, 1.0, None, None), worker="x"),
        row("p", "bad", (0.0, -1.0, None, None)),
        row("o", "c", (0.0, 1.0, None, None), side="item"),
    )
    made = training_examples(pairs, select(rows, SelectionConfig()))
    assert made == [
        TrainingExample(
            pairs[0],
            (WeightedRationale("a", "sum a", 0.5, "x"), WeightedRationale("b", "sum b", 0.5, "y")),
        ),
        TrainingExample(pairs[1], (), (WeightedRationale("c", "sum c", 1.0, "w"),)),
        TrainingExample(pairs[2]),
    ]


def test_the_temperature_must_be_positive():
    with pytest.raises(ValueError, match="must be > 0, got 0"):
        SelectionConfig(temperature=0)
