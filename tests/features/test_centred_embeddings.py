"""Tests for features/centred_embeddings.py."""

import numpy as np
import polars as pl
import pytest

from features.centred_embeddings import CentredEmbeddings, history_pairs, similarity_edges
from features.centring import Centring


def embeddings(vectors, version="v1"):
    return pl.DataFrame(
        {
            "item_id": list(vectors),
            "vector": pl.Series([list(v) for v in vectors.values()], dtype=pl.List(pl.Float32)),
            "model_version": version,
        }
    )


def test_mean_is_taken_off_and_the_rest_normalised():
    centred = CentredEmbeddings.measured(embeddings({"b": (3.0, 1.0), "a": (1.0, 1.0)}))
    assert centred.item_ids.to_list() == ["a", "b"]
    np.testing.assert_allclose(centred.centring.mean, [2.0, 1.0])
    np.testing.assert_allclose(centred.vectors_ND, [[-1.0, 0.0], [1.0, 0.0]])


def test_rows_are_found_by_id_and_unknown_items_have_none():
    centred = CentredEmbeddings.measured(embeddings({"b": (3.0, 1.0), "a": (1.0, 1.0)}))
    assert centred.rows_of(pl.Series(["b", "x", "a", "b"])).tolist() == [1, -1, 0, 1]


def test_vector_equal_to_the_mean_has_no_direction():
    centred = CentredEmbeddings.measured(
        embeddings({"a": (1.0, 0.0), "b": (0.0, 0.0), "c": (-1.0, 0.0)})
    )
    np.testing.assert_array_equal(centred.vectors_ND[1], [0.0, 0.0])


def test_embeddings_are_centred_as_earlier_ones_were():
    earlier = CentredEmbeddings.measured(embeddings({"b": (3.0, 1.0), "a": (1.0, 1.0)}))
    again = CentredEmbeddings.of(embeddings({"c": (2.0, 5.0)}), earlier.centring)
    np.testing.assert_allclose(again.vectors_ND, [[0.0, 1.0]])  # (2, 5) less the mean (2, 1)
    assert again.centring == earlier.centring


def test_embeddings_of_another_version_are_not_centred_alike():
    with pytest.raises(ValueError, match=r"vectors of 'v1', got embeddings of 'v2'"):
        CentredEmbeddings.of(embeddings({"a": (1.0, 0.0)}, "v2"), Centring("v1", (0.0, 0.0), ()))


def test_two_model_versions_are_refused():
    mixed = pl.concat([embeddings({"a": (1.0, 0.0)}), embeddings({"b": (0.0, 1.0)}, "v2")])
    with pytest.raises(ValueError, match=r"exactly one model_version, got \['v1', 'v2'\]"):
        CentredEmbeddings.measured(mixed)


def test_item_listed_twice_is_refused():
    twice = pl.concat([embeddings({"a": (1.0, 0.0)})] * 2)
    with pytest.raises(ValueError, match="several for 1 items, first 'a'"):
        CentredEmbeddings.measured(twice)


def test_edges_split_random_pairs_evenly():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    edges = similarity_edges(vectors, num_tiers=4, seed=1)
    cosines = (vectors @ vectors.T)[np.triu_indices(300, 1)]
    # Quartiles of all pairs, from the full matrix; 20,000 draws have a standard error of 0.0031.
    shares = np.histogram(cosines, [-1.01, *edges, 1.01])[0] / len(cosines)
    np.testing.assert_allclose(shares, 0.25, atol=0.015)


def test_half_of_the_sample_are_pairs_that_belong_together():
    # Two opposite clusters: strangers have cosine 1 or -1, the given pairs all have cosine 0.
    vectors = np.array([[1, 0], [0, 1], [1, 0], [-1, 0]], dtype=np.float32)
    edges = similarity_edges(vectors, np.array([[0, 1]]), num_tiers=2)
    assert edges == (0.0,)


def test_pairs_are_neighbours_in_a_history():
    past = pl.DataFrame(
        {"items": [["c", "b", "a"], [], ["z"]]}, schema={"items": pl.List(pl.String)}
    )
    assert sorted(history_pairs(past).rows()) == [("a", "b"), ("b", "c")]
