"""Tests for features/clusters.py."""

import numpy as np

from features.clusters import cluster_centres, nearest_centres

RNG = np.random.default_rng(0)
KINDS = RNG.integers(4, size=200)
VECTORS = np.eye(6, dtype=np.float32)[KINDS] + RNG.normal(0, 0.05, (200, 6)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


def test_clusters_are_the_kinds_that_there_are():
    centres = cluster_centres(VECTORS, 4, seed=0)
    found = nearest_centres(VECTORS, centres)
    assert {len(set(found[kind == KINDS])) for kind in range(4)} == {1}
    assert len(set(found)) == 4
    means = np.stack([VECTORS[found == number].mean(axis=0) for number in range(4)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(centres, means, atol=1e-5)


def test_the_nearest_centre_is_the_one_with_the_largest_cosine_of_equal_ones_the_first():
    centres = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    vectors = np.array([[0.6, 0.8], [0.8, 0.6], [0, 0]], dtype=np.float32)
    assert nearest_centres(vectors, centres).tolist() == [1, 0, -1]


def test_few_vectors_make_few_clusters_or_none():
    assert len(cluster_centres(VECTORS[:35], 8, seed=0)) == 3
    assert cluster_centres(VECTORS[:19], 8, seed=0).shape == (0, 6)
    assert cluster_centres(VECTORS, 0, seed=0).shape == (0, 6)
    assert cluster_centres(np.zeros((50, 6), np.float32), 4, seed=0).shape == (0, 6)


def test_vectors_that_are_all_the_same_are_one_cluster_in_effect():
    same = np.tile(VECTORS[:1], (40, 1))
    assert len(set(nearest_centres(same, cluster_centres(same, 4, seed=0)))) == 1


def test_a_seed_decides_the_centres():
    one, again = (cluster_centres(VECTORS, 4, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, again)
