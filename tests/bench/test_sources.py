"""Tests for bench/sources.py: what its riddles ask, who answers them, and what is told."""

import random

import numpy as np

from bench.sources import ARMS, means, riddle_rows, told
from catalog.bazaar.world import random_product
from evaluation.query_sets import Query, QuerySet

NUM_OF = {"literal": 20, "everyday": 20, "indirect": 20, "composed": 20}


def _products(number=300):
    rng = random.Random(3)
    return {f"item-{n:03d}": random_product(rng) for n in range(number)}


def test_riddles_are_as_many_as_asked_for_and_none_is_about_a_product_kept_from_training():
    products = _products()
    rows = list(riddle_rows(products, NUM_OF, "pairs", set()))
    assert [row["source"] for row in rows] == [tier for tier in NUM_OF for _ in range(20)]
    assert any(product.is_held_out for product in products.values())
    assert not any(products[row["target_item"]].is_held_out for row in rows)
    assert len({(row["query_text"], row["target_item"]) for row in rows}) == 80


def test_answers_of_a_riddle_are_the_products_with_every_value_that_it_asks_for():
    products = _products()
    for row in riddle_rows(products, NUM_OF, "pairs", set()):
        wanted = [part.partition("=")[::2] for part in row["query_key"].split(" ")]
        fitting = [
            item_id
            for item_id, product in sorted(products.items())
            if all(str(getattr(product, name)) == value for name, value in wanted)
        ]
        assert row["answers"] == fitting
        assert row["target_item"] in fitting


def test_what_is_taken_is_not_asked_again():
    products = _products()
    taken = {row["query_text"] for row in riddle_rows(products, NUM_OF, "pairs", set())}
    again = {row["query_text"] for row in riddle_rows(products, NUM_OF, "pairs", taken)}
    assert not taken & again


def test_means_are_by_seed_and_gains_are_of_the_same_questions():
    queries = [Query(query_id=f"q{n}", text="x", relevant=["a"]) for n in range(2)]
    found = {"sizes": [0.0, 0.5], "even": [0.5, 0.5], "balanced": [1.0, 0.5]}
    scores = {arm: [{"asked": {"ndcg@10": np.array(found[arm])}}] * 2 for arm in ARMS}
    everything = told(scores, {"asked": QuerySet({}, queries)})["asked"]["all"]["ndcg@10"]
    assert everything["by_seed"] == {"sizes": [0.25] * 2, "even": [0.5] * 2, "balanced": [0.75] * 2}
    gains = {name: gain[0] for name, gain in everything["gain"].items()}
    assert gains == {"even - sizes": 0.25, "balanced - sizes": 0.5, "balanced - even": 0.25}
    assert everything["gain"]["balanced - sizes"][1:] != [0.5, 0.5]  # the questions differ


def test_means_of_one_model_are_by_slice():
    queries = [
        Query(query_id=f"q{n}", text="x", tier=tier, relevant=["a"]) for n, tier in enumerate("xxy")
    ]
    found = means({"asked": {"hit@1": np.array([0.0, 1.0, 1.0])}}, {"asked": QuerySet({}, queries)})
    assert found["asked"]["all"] == {"hit@1": 0.6667}
    assert found["asked"]["x"] == {"hit@1": 0.5}
