"""Tests for ponder/reports/run/neighbours.py, against numpy's own sorting."""

import numpy as np
import polars as pl

from ponder.reports.run.neighbours import neighbourhoods


def living(vectors, *, categories=None, with_image=None, num_events=None):
    ids = list(vectors)
    return pl.DataFrame(
        {
            "item_id": ids,
            "category": categories or ["toys"] * len(ids),
            "image_hash": ["h" if with_image is None or i in with_image else None for i in ids],
            "num_events": [(num_events or {}).get(i, 0) for i in ids],
            "vector": list(vectors.values()),
        },
        schema_overrides={"category": pl.String, "image_hash": pl.String},
    )


def test_neighbours_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    vectors_ND = rng.normal(size=(50, 8)).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    ids = [f"i{n:02}" for n in range(50)]
    frame = living(dict(zip(ids, vectors_ND.tolist(), strict=True)))
    for around in neighbourhoods(frame, num_items=4, num_neighbours=6):
        cosine_N = vectors_ND @ vectors_ND[ids.index(around.item_id)]
        best = [ids[n] for n in np.argsort(-cosine_N)[1:7]]  # the first is the item itself
        assert [item_id for item_id, _ in around.nearest] == best
        np.testing.assert_allclose(
            [c for _, c in around.nearest], np.sort(cosine_N)[::-1][1:7], atol=2e-6
        )


def test_equal_neighbours_are_in_order_of_id():
    near = neighbourhoods(living({"c": [0.0, 1.0], "b": [1.0, 0.0], "a": [1.0, 0.0]}), num_items=3)
    assert [n.nearest for n in near if n.item_id == "c"] == [[("a", 0.0), ("b", 0.0)]]


def test_items_are_spread_over_categories_and_those_with_an_image_go_first():
    vectors = {name: [1.0, 0.0] for name in "abcdef"}
    frame = living(
        vectors,
        categories=["hats", "hats", "hats", "cups", "cups", None],
        with_image={"b", "c", "e", "f"},
        num_events={"b": 2, "c": 1},
    )
    chosen = [n.item_id for n in neighbourhoods(frame, num_items=6)]
    assert chosen == ["b", "e", "f", "c", "d", "a"]  # the largest category goes first in a turn


def test_items_with_most_events_go_first_and_neighbouring_ids_do_not_stand_together():
    frame = living({f"i{n:02}": [1.0, 0.0] for n in range(90)}, num_events={"i50": 3, "i20": 7})
    first, second, *others = [n.item_id for n in neighbourhoods(frame, num_items=10)]
    assert (first, second) == ("i20", "i50")
    assert max(others) > "i60"
    assert sorted(others) != others


def test_nothing_embedded_has_no_neighbours():
    assert neighbourhoods(living({})) == []


def test_a_single_item_has_no_neighbours():
    [alone] = neighbourhoods(living({"a": [1.0, 0.0]}))
    assert alone.nearest == []
