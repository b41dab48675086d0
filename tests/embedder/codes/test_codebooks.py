"""Codes against brute force, level by level, and codebooks that change with whatever is in them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.codes.codebooks import Codebooks, Described, told
from embedder.codes.config import CodesConfig

CONFIG = CodesConfig(num_levels=3, num_codes=5, sample_items=5)


def codebooks(seed=0, *, dim=4, config=CONFIG, **parts):
    rng = np.random.default_rng(seed)
    shape = (config.num_levels, config.num_codes, dim)
    centroids = rng.standard_normal(shape).astype(np.float32)
    return Codebooks(Described(model_version="v", config=config), centroids, **parts)


def nearest_by_hand(vector, centroids_LKC):
    """The codes of one vector, one comparison after the other."""
    left, codes = vector.astype(np.float64), []
    for centroids_KC in centroids_LKC.astype(np.float64):
        apart = [float(((left - centroid) ** 2).sum()) for centroid in centroids_KC]
        codes.append(apart.index(min(apart)))
        left = left - centroids_KC[codes[-1]]
    return codes


@given(st.integers(0, 2**32 - 1))
def test_codes_are_those_of_brute_force(seed):
    books = codebooks(seed)
    vectors = np.random.default_rng(seed + 1).standard_normal((7, 4)).astype(np.float32)
    expected = [nearest_by_hand(vector, books.centroids_LKC) for vector in vectors]
    assert books.assign(vectors).tolist() == expected


def test_codes_do_not_depend_on_what_is_coded_beside():
    books = codebooks(dim=64)
    vectors = np.random.default_rng(1).standard_normal((300, 64)).astype(np.float32)
    alone = np.concatenate([books.assign(vector[None]) for vector in vectors])
    assert (books.assign(vectors) == alone).all()


def test_of_equal_centroids_the_first_is_taken():
    books = codebooks()
    books.centroids_LKC[:, 3] = books.centroids_LKC[:, 1]
    vectors = np.random.default_rng(1).standard_normal((500, 4)).astype(np.float32)
    assert 3 not in books.assign(vectors)


def test_codes_decode_to_the_sum_of_their_centroids_and_prefixes_to_a_part_of_it():
    books = codebooks()
    centroids = books.centroids_LKC
    expected = centroids[0, 2] + centroids[1, 0]
    np.testing.assert_allclose(books.decode(np.array([[2, 0]]))[0], expected, atol=1e-6)
    expected = expected + centroids[2, 4]
    np.testing.assert_allclose(books.decode(np.array([[2, 0, 4]]))[0], expected, atol=1e-6)


def test_layers_are_a_perceptron_before_and_after_the_codes():
    rng = np.random.default_rng(3)
    layers = [
        (rng.standard_normal(shape).astype(np.float32), rng.standard_normal(shape[0]))
        for shape in ((3, 6), (4, 3), (3, 4), (6, 3))
    ]
    books = codebooks(encoder=tuple(layers[:2]), decoder=tuple(layers[2:]))
    vectors = rng.standard_normal((9, 6)).astype(np.float32)
    hidden = np.maximum(vectors @ layers[0][0].T + layers[0][1], 0)
    latents = hidden @ layers[1][0].T + layers[1][1]
    codes = [nearest_by_hand(latent, books.centroids_LKC) for latent in latents]
    assert books.dim == 6
    assert books.assign(vectors).tolist() == codes
    summed = np.stack([sum(books.centroids_LKC[n, c] for n, c in enumerate(row)) for row in codes])
    decoded = np.maximum(summed @ layers[2][0].T + layers[2][1], 0) @ layers[3][0].T + layers[3][1]
    np.testing.assert_allclose(books.decode(np.array(codes)), decoded, atol=1e-5)


def test_vectors_of_another_dimension_or_not_finite_are_refused():
    books = codebooks()
    with pytest.raises(ValueError, match=r"shape \(N, 4\), got \(2, 5\)"):
        books.assign(np.zeros((2, 5), dtype=np.float32))
    with pytest.raises(ValueError, match="finite"):
        books.assign(np.array([[0, 0, np.nan, 0]], dtype=np.float32))


def test_the_id_changes_with_every_number_the_version_and_the_config():
    books = codebooks()
    other = books.centroids_LKC.copy()
    other[2, 4, 3] = np.nextafter(other[2, 4, 3], np.float32(9))
    renamed = Described(model_version="w", config=CONFIG)
    seeded = Described(model_version="v", config=replace(CONFIG, seed=1))
    different = [
        Codebooks(books.of, other),
        Codebooks(renamed, books.centroids_LKC),
        Codebooks(seeded, books.centroids_LKC),
    ]
    assert len({books.id, *(each.id for each in different)}) == 4
    assert Codebooks(books.of, books.centroids_LKC.copy()).id == books.id


def test_codes_are_told_with_dashes():
    assert told(np.array([0, 12, 7])) == "0-12-7"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"num_levels": 0}, "num_levels must be in"),
        ({"num_codes": 1}, "num_codes must be in"),
        ({"sample_items": 4}, "sample_items must be at least num_codes"),
        ({"hidden_sizes": (8, 0)}, "must be > 0"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0"),
    ],
)
def test_a_config_that_cannot_be_is_refused(change, told):
    with pytest.raises(ValueError, match=told):
        replace(CONFIG, **change)
