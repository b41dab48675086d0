"""Both learners: codebooks as good as another library's, the same again, and no code left idle."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import KMeans

from embedder.codes.config import CodesConfig
from embedder.codes.kmeans import kmeans
from embedder.codes.learning import learned
from embedder.codes.quality import code_use, reconstruction

KMEANS = CodesConfig(num_levels=3, num_codes=16, sample_items=400)
VAE = replace(KMEANS, learner="vae", latent_dim=8, hidden_sizes=(24,), steps=250, batch_size=64)
VAE = replace(VAE, learning_rate=5e-3)  # few steps: large ones


@pytest.fixture(scope="module")
def vectors():
    """Blobs of unit vectors, of which half are learned from."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((12, 16))
    drawn = centres[rng.integers(12, size=800)] + 0.5 * rng.standard_normal((800, 16))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def by_kmeans(vectors):
    return learned(vectors[:400], KMEANS, model_version="v")


@pytest.fixture(scope="module")
def by_vae(vectors):
    return learned(vectors[:400], VAE, model_version="v")


def inertia(vectors, centroids):
    return float(((vectors[:, None] - centroids[None]) ** 2).sum(axis=2).min(axis=1).sum())


def test_a_level_is_as_good_as_that_of_scikit_learn(vectors):
    ours = kmeans(vectors, 16, rounds=50, rng=np.random.default_rng(0))
    theirs = KMeans(16, n_init=1, max_iter=50, random_state=0).fit(vectors)
    assert inertia(vectors, ours) == pytest.approx(theirs.inertia_, rel=0.05)
    again = KMeans(16, n_init=1, max_iter=1, init=ours).fit(vectors)  # nothing is left to gain
    assert inertia(vectors, ours) == pytest.approx(again.inertia_, rel=1e-4)


def test_a_centroid_that_loses_its_vectors_is_put_where_they_are_far():
    near = np.repeat(np.eye(3, dtype=np.float32), 40, axis=0)
    far = 9 * np.eye(3, dtype=np.float32)[::-1]
    centroids = kmeans(np.concatenate([near, far]), 6, rounds=20, rng=np.random.default_rng(1))
    assert inertia(np.concatenate([near, far]), centroids) == pytest.approx(0, abs=1e-6)


def test_fewer_different_vectors_than_centroids_are_no_fault():
    two = np.repeat(np.eye(2, dtype=np.float32), 10, axis=0)
    centroids = kmeans(two, 5, rounds=20, rng=np.random.default_rng(0))
    assert np.isfinite(centroids).all()
    assert inertia(two, centroids) == 0


def test_each_level_loses_less_than_the_one_before(vectors, by_kmeans):
    lost = reconstruction(by_kmeans, vectors[400:], held_out=True)
    first, second, third = lost.error_by_level
    assert 1 > first > second > third == lost.relative_error > 0
    assert lost.num_vectors == 400
    assert lost.held_out


def test_a_vae_codes_vectors_far_better_than_their_mean(vectors, by_vae):
    lost = reconstruction(by_vae, vectors[400:], held_out=True)
    assert lost.relative_error < 0.3
    assert lost.cosine > 0.8
    assert lost.error_by_level[0] > lost.relative_error


@pytest.mark.parametrize("learner", ["by_kmeans", "by_vae"])
def test_no_code_is_left_idle(request, vectors, learner):
    books = request.getfixturevalue(learner)
    use = code_use(books.assign(vectors), num_codes=16)
    assert min(use.used) > 0.8
    assert min(use.entropy) > 0.7


@pytest.mark.parametrize("config", [KMEANS, replace(VAE, steps=30)])
def test_the_same_seed_learns_the_same(vectors, config):
    ids = {
        learned(vectors[:400], replace(config, seed=seed), model_version="v").id
        for seed in (0, 0, 1)
    }
    assert len(ids) == 2


def test_a_vae_leaves_the_global_generator_alone(vectors):
    import torch

    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    learned(vectors[:64], replace(VAE, steps=1), model_version="v")
    assert torch.rand(1) == expected


def test_too_few_or_broken_vectors_are_refused(vectors):
    with pytest.raises(ValueError, match=r"codes of a level, 16, to\s+learn from, got 15"):
        learned(vectors[:15], KMEANS, model_version="v")
    broken = vectors[:20].copy()
    broken[3, 1] = np.inf
    with pytest.raises(ValueError, match="finite"):
        learned(broken, KMEANS, model_version="v")


def test_use_is_counted_by_hand():
    codes = np.array([[0, 0], [0, 0], [0, 1], [3, 1]])
    use = code_use(codes, num_codes=4)
    assert use.used == (0.5, 0.5)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(4)
    assert use.entropy == pytest.approx((entropy, 0.5))
    assert use.prefixes == (2, 3)
    assert (use.shared, use.largest_group, use.num_items) == (0.5, 2, 4)
    assert code_use(codes[:0], num_codes=4).prefixes == (0, 0)
