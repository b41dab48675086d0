"""Tests for embedder/small/distillation.py: targets, divergence and batches."""

import numpy as np
import torch
from scipy.special import rel_entr, softmax
from sklearn.feature_extraction.text import TfidfVectorizer

from embedder.small.distillation import TextTable, block_rows, similarity_divergence, tf_idf

TEXTS = ["a boat, a river", "the river", "the hill and the boat", "", "hill hill river"]


def test_tf_idf_is_that_of_scikit_learn_without_smoothing():
    known = TfidfVectorizer(token_pattern=r"[a-z0-9']+", smooth_idf=False)
    counts = known.fit_transform(TEXTS)
    idf = known.idf_ - 1  # scikit-learn adds 1
    raw = counts.multiply(1 / known.idf_).multiply(idf).toarray()
    length = np.linalg.norm(raw, axis=1, keepdims=True)
    expected = raw / np.where(length == 0, 1, length)
    found = tf_idf(TEXTS)
    np.testing.assert_allclose(
        (found @ found.T).toarray(), expected @ expected.T, atol=1e-6, rtol=0
    )


def test_similarity_is_the_teachers_and_a_share_of_shared_words():
    teacher = torch.eye(5)[[0, 0, 1, 2, 3]] * 3
    table = TextTable([], teacher, TEXTS)
    rows = np.array([0, 1, 3])
    words = tf_idf(TEXTS)[rows]
    shared = (words @ words.T).toarray()
    expected = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]]) + 0.5 * shared
    found = table.similarity(rows, word_share=0.5)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_divergence_is_that_of_kullback_and_leibler_over_the_others():
    rng = np.random.default_rng(0)
    told, taught = (rng.normal(size=(4, 4)) for _ in range(2))
    expected = []
    for row in range(4):
        others = [column for column in range(4) if column != row]
        target = softmax(taught[row, others] / 0.5)
        expected.append(rel_entr(target, softmax(told[row, others] / 0.5)).sum())
    found = similarity_divergence(torch.from_numpy(told), torch.from_numpy(taught), temperature=0.5)
    np.testing.assert_allclose(found.item(), np.mean(expected), rtol=1e-9)
    same = torch.from_numpy(told)
    assert similarity_divergence(same, same + 3, temperature=0.5).item() < 1e-9


def test_an_epoch_has_every_block_once_and_blocks_whole():
    steps = [block_rows(24, step, block=4, batch_blocks=2, seed=7) for step in range(6)]
    first, second = np.concatenate(steps[:3]), np.concatenate(steps[3:])
    assert sorted(first) == sorted(second) == list(range(24))
    assert first.tolist() != second.tolist()
    for rows in steps:
        np.testing.assert_array_equal(np.diff(rows.reshape(2, 4)), 1)
        assert (rows[::4] % 4 == 0).all()
