"""What needs no model of content: how popular films are, and who liked what together.

Shape legend: B = questions, N = films, U = users
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from bench.films_data import Films
from bench.films_measure import Scores
from embedder.finetune.data.item_similarity import cosine
from features.profile import ProfileConfig

Weighting = Callable[[int], np.ndarray]
"""From the length of a history to the weight of each of its films, newest first."""


def popularity(films: Films, events: pl.DataFrame) -> Scores:
    """Score films by how many events they have, whoever asks."""
    count_N = liked_matrix(films, events).sum(axis=0)
    return lambda histories: np.tile(count_N, (len(histories), 1))


def equal_weights(length: int) -> np.ndarray:
    """Return equal weights: every film of the history counts alike."""
    return np.ones(length)


def profile_weights(length: int) -> np.ndarray:
    """Return weights by which the newest films count most, as in the recall service's profile."""
    config = ProfileConfig()
    age = np.arange(length)
    weight = np.where(age < config.max_history, 0.5 ** (age / config.half_life), 0.0)
    return weight / weight.sum()


def item_knn(films: Films, events: pl.DataFrame, *, weights: Weighting) -> Scores:
    """Return cosines of films by who rated them, summed over the history (Sarwar et al. 2001).

    All neighbours count, as many as there are.
    """
    similarity_NN = cosine(liked_matrix(films, events))

    def scores(histories: list[list[int]]) -> np.ndarray:
        rows = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
        values = np.concatenate([weights(len(history)) for history in histories])
        history_BN = csr_array(
            (values, (rows, np.concatenate(histories))),
            shape=(len(histories), similarity_NN.shape[0]),
        )
        return (history_BN @ similarity_NN).toarray()

    return scores


def liked_matrix(films: Films, events: pl.DataFrame) -> csr_array:
    """Return [U, N] 1.0 where a user has an event on a film; users by id."""
    pairs = events.select("user_id", "item_id").unique()
    users = pairs["user_id"].unique().sort()
    row_of = films.row_of
    places = (
        users.search_sorted(pairs["user_id"]).to_numpy(),
        np.array([row_of[item] for item in pairs["item_id"]]),
    )
    return csr_array((np.ones(len(pairs)), places), shape=(len(users), len(films.item_ids)))
