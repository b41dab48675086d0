"""Tests for bench/fashion.py: its measures, and its data where that lies beside the checkout."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.stats import rankdata

from bench.fashion import Split, evaluate_scores, middle_ranks, read_split, recalls, write_train
from catalog.bazaar.drawing import png
from ponder.finetuning.given import read_pairs

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "fashion_products"


def test_the_best_right_candidate_counts_and_ties_take_the_middle_rank():
    scores = np.array([[0.9, 0.5, 0.5, 0.1], [0.2, 0.3, 0.1, 0.0], [0.7, 0.7, 0.7, 0.7]])
    right = np.array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]], dtype=bool)
    # One above and the middle of ranks 2 and 3; the first of two right ones; the middle of 1 to 4.
    np.testing.assert_array_equal(middle_ranks(scores, right), [2.5, 2.0, 2.5])


def test_ranks_are_scipys_average_ranks():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (50, 20)) / 5
    own = rng.integers(0, 20, 50)
    right = np.arange(20) == own[:, None]
    expected = [rankdata(-row)[n] for row, n in zip(scores, own, strict=True)]
    np.testing.assert_array_equal(middle_ranks(scores, right), expected)


def test_recalls_are_shares_of_queries():
    scores = np.array([[3.0, 2.0, 1.0]] * 3)
    assert recalls(scores, np.eye(3, dtype=bool)) == {
        "R@1": 0.3333,
        "R@5": 1.0,
        "R@10": 1.0,
        "MRR": round((1 + 1 / 2 + 1 / 3) / 3, 4),
    }


def test_the_variants_differ_where_products_share_a_title():
    split = Split(["A", "a", "b"], ["a", "a", "b"], [1, 2, 3], [b"", b"", b""])
    scores = np.array([[0.1, 0.9, 0.5], [0.1, 0.9, 0.5], [0.8, 0.9, 0.1]])
    found = evaluate_scores(split, text_to_image_NN=scores, image_to_text_NN=scores.T)
    # Titles: both "a" find image 1 first, which is right by title and for the second its own.
    assert found["text_to_image"]["R@1"] == round(2 / 3, 4)
    assert found["text_to_image_own"]["R@1"] == round(1 / 3, 4)
    # Merged, "a" asks once and finds image 1; "b" finds an image of "a".
    assert found["text_to_image_merged"]["R@1"] == 0.5
    # Images: 0 prefers "b"; 1 scores all titles alike; 2 prefers "a" twice.
    assert found["image_to_text"]["R@1"] == 0.0
    # Merged, image 1 has two candidates, one of them right: rank 1.5.
    assert found["image_to_text_merged"]["MRR"] == round((1 / 2 + 1 / 1.5 + 1 / 2) / 3, 4)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data/fashion_products")
def test_no_title_and_no_image_crosses_the_splits():
    splits = {name: read_split(DATA, name) for name in ("train", "valid", "test")}
    assert {name: len(split.titles) for name, split in splits.items()} == {
        "train": 7735,
        "valid": 899,
        "test": 949,
    }
    for field in ("title_keys", "image_groups"):
        sets = [set(getattr(split, field)) for split in splits.values()]
        assert len(set.union(*sets)) == sum(map(len, sets))


def test_titles_and_images_are_pairs_whose_keys_say_what_is_the_same(tmp_path):
    red, blue = (png(Image.new("RGB", (48, 64), colour)) for colour in ("red", "blue"))
    write_train(
        Split(["Mug", "mug!", "Cup"], ["mug", "mug", "cup"], [1, 2, 2], [red, blue, blue]), tmp_path
    )
    rows = read_pairs(tmp_path)
    assert rows.select("query_text", "query_key", "target_key").rows() == [
        ("Mug", "mug", "1"), ("mug!", "mug", "2"), ("Cup", "cup", "2"),
    ]  # fmt: skip
    assert rows["answers"].to_list() == [[], [], []]
    items = pl.read_parquet(tmp_path / "items.parquet")
    assert items.select("title", "image").rows() == [(None, red), (None, blue), (None, blue)]
