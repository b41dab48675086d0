"""Tests for bench/film_texts.py: its metrics are those of scikit-learn and of counting."""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from bench.film_texts import PENALTIES, best_ridge, ranked, recall_of_own, ridge


def test_recall_counts_rows_whose_own_is_among_the_first():
    asking = np.eye(3)
    asked = np.array([[1.0, 0, 0], [0, 0.5, 0.6], [0.2, 0.9, 0.1]])
    # Own scores 1, .5 and .1; larger or equal ones of others: none, one, one.
    assert recall_of_own(asking, asked, 1) == 1 / 3
    assert recall_of_own(asking, asked, 2) == 1
    assert recall_of_own(np.ones((4, 2)), np.ones((4, 2)), 3) == 0  # ties stand before it


def test_ridge_is_that_of_scikit_learn_for_few_numbers_and_for_many():
    rng = np.random.default_rng(0)
    for num_values in (3, 40):
        given, target = rng.normal(size=(12, num_values)), rng.normal(size=(12, 2))
        expected = Ridge(alpha=0.7, fit_intercept=False).fit(given, target).coef_.T
        np.testing.assert_allclose(ridge(given, target, 0.7), expected, atol=1e-8)


def test_the_penalty_is_the_one_that_predicts_best_what_it_did_not_learn_from():
    rng = np.random.default_rng(1)
    given = rng.normal(size=(100, 30))
    target = given @ rng.normal(size=(30, 2)) + 3 * rng.normal(size=(100, 2))
    errors = {
        penalty: ((given[80:] @ ridge(given[:80], target[:80], penalty) - target[80:]) ** 2).sum()
        for penalty in PENALTIES
    }
    best = min(errors, key=errors.get)
    assert best not in (PENALTIES[0], PENALTIES[-1])
    np.testing.assert_allclose(best_ridge(given, target), ridge(given, target, best))


def test_precision_and_auc_are_means_over_users_who_rated_some_and_not_all():
    rng = np.random.default_rng(2)
    score = rng.normal(size=(5, 30))
    relevant = (rng.random((5, 30)) < 0.3).astype(float)
    relevant[3], relevant[4] = 0, 1
    found = ranked(score, relevant)
    areas = [roc_auc_score(relevant[user], score[user]) for user in range(3)]
    first = [relevant[user][np.argsort(-score[user])[:10]].mean() for user in range(3)]
    np.testing.assert_allclose(found["auc"], np.mean(areas))
    np.testing.assert_allclose(found["p@10"], np.mean(first))
