"""Tests for recall/validation.py, on Milvus Lite."""

import numpy as np
import polars as pl
import pytest

from recall.errors import NotFound
from recall.validation import ValidationConfig, validate

RING = {f"i{n:02d}": [np.cos(n / 4), np.sin(n / 4)] for n in range(24)}  # neighbours are n +- 1


@pytest.fixture(scope="module")
def ring(index, rows):
    frame = rows(**RING)
    index.sync("ring", frame, dim=2)
    return frame


def test_a_collection_equal_to_the_lake_passes(index, ring):
    verdict = validate(index, "ring", ring, sample=10, seed=1)
    assert (verdict.num_items, verdict.missing, verdict.stale, verdict.extra) == (24, 0, 0, 0)
    assert verdict.self_retrieval == 1.0
    assert verdict.exact_overlap == 1.0
    assert verdict.passed
    assert verdict.problems == []


def test_missing_stale_and_extra_items_are_told_apart(index, ring):
    lake = pl.concat([ring.filter(pl.col("item_id") > "i02"), ring.head(1)]).with_columns(
        item_id=pl.col("item_id").replace("i00", "new"),
        content_hash=pl.when(pl.col("item_id") == "i05")
        .then(pl.lit("other"))
        .otherwise("content_hash"),
    )
    # The collection holds i00, i01, i02 too many, lacks `new`, and has i05 of another content.
    verdict = validate(index, "ring", lake)
    assert (verdict.missing, verdict.stale, verdict.extra) == (1, 1, 3)
    assert not verdict.passed
    assert "1 of 22 items are missing" in verdict.problems[0]


def test_items_with_one_vector_may_stand_for_each_other(index, rows):
    twins = rows(**{item_id: [1, 0] for item_id in "abcdefgh"})
    index.sync("twins", twins, dim=2)
    verdict = validate(index, "twins", twins, config=ValidationConfig(num_neighbours=2))
    assert verdict.self_retrieval == 1.0
    assert verdict.exact_overlap == 1.0


def test_vectors_that_moved_without_their_hash_are_found_out(index, ring):
    shuffled = ring.with_columns(vector=pl.Series(ring["vector"].to_list()[::-1]))
    verdict = validate(index, "ring", shuffled, config=ValidationConfig(num_neighbours=2))
    assert (verdict.missing, verdict.stale, verdict.extra) == (0, 0, 0)
    assert verdict.self_retrieval < 0.5
    assert not verdict.passed
    assert "self_retrieval must be >= 0.99" in verdict.problems[0]


def test_drift_is_measured_against_the_live_version(index, ring, rows):
    turned = rows(**{item_id: [-y, x] for item_id, (x, y) in RING.items()})
    places = np.random.default_rng(0).permutation(list(RING.values()))
    mixed = rows(**dict(zip(RING, places, strict=True)))
    index.sync("turned", turned, dim=2)
    index.sync("mixed", mixed, dim=2)
    index.promote("ring")
    config = ValidationConfig(num_neighbours=2, min_previous_overlap=0.5)
    assert validate(index, "ring", ring).previous_version is None
    same = validate(index, "turned", turned, config=config)  # a rotation keeps every cosine
    assert (same.previous_version, same.previous_overlap) == ("ring", 1.0)
    assert same.passed
    other = validate(index, "mixed", mixed, config=config)
    assert other.previous_overlap < 0.5
    assert [p.split()[0] for p in other.problems] == ["previous_overlap"]


def test_the_sample_depends_on_the_seed_and_not_on_the_order_of_rows(index, ring):
    # The first twelve have wrong vectors, so that it shows which items were taken.
    vectors = ring["vector"].to_list()
    half_wrong = ring.with_columns(vector=pl.Series(vectors[6:12] + vectors[:6] + vectors[12:]))
    one = validate(index, "ring", half_wrong, sample=3, seed=5)
    assert validate(index, "ring", half_wrong.reverse(), sample=3, seed=5) == one
    others = [validate(index, "ring", half_wrong, sample=3, seed=seed) for seed in range(8)]
    assert len({other.self_retrieval for other in others}) > 1


def test_a_version_without_a_collection_is_named(index, ring):
    with pytest.raises(NotFound, match="'nobody'"):
        validate(index, "nobody", ring)


def test_an_empty_catalogue_passes_with_an_empty_collection_alone(index, ring, rows):
    verdict = validate(index, "ring", ring.clear())
    assert (verdict.num_items, verdict.extra) == (0, 24)
    assert verdict.problems == ["24 items should not be there; sync again"]
    index.sync("emptied", rows(a=[1, 0]), dim=2)
    assert index.remove("emptied", pl.Series(["a", "b"])) == 1
    assert validate(index, "emptied", ring.clear()).passed


def test_an_earlier_content_is_stale_and_no_fault_while_it_awaits_its_embedding(index, ring):
    behind = pl.when(pl.col("item_id") == "i05").then(pl.lit("other")).otherwise("content_hash")
    lake = ring.with_columns(
        awaits_embedding=pl.col("item_id").is_in(["i01", "i02"]), content_hash=behind
    )
    # i01 and i02 hold an earlier content, as they should; i05 holds another than it should.
    verdict = validate(index, "ring", lake)
    assert (verdict.missing, verdict.stale, verdict.awaiting) == (0, 3, 2)
    assert verdict.problems == ["1 of 24 items are stale; sync version 'ring' again"]
    assert validate(index, "ring", lake.with_columns(content_hash=ring["content_hash"])).passed


@pytest.mark.parametrize("wrong", [{"min_exact_overlap": 1.1}, {"num_neighbours": 0}])
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ValueError, match="must be in"):
        ValidationConfig(**wrong)
