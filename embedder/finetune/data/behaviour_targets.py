"""Collaborative item vectors: what users liked together, and nothing of the content.

Shape legend: I = items, K = dimension of behaviour vectors, D = dimension of the model's vectors
"""

from datetime import datetime

import numpy as np
import polars as pl
from scipy.sparse.linalg import svds

from embedder.finetune.data.interactions import interaction_matrix
from embedder.finetune.data.item_similarity import ppmi


def behaviour_vectors(
    positives: pl.DataFrame, *, before: datetime, dim: int, seed: int = 0
) -> pl.DataFrame:
    """Return item vectors by factorising the PPMI matrix of being liked by one user.

    The rows of ``U sqrt(S)`` of the truncated singular value decomposition, L2-normalised. Levy and
    Goldberg 2014 show that word2vec with negative sampling, which item2vec (Barkan and Koenigstein
    2016) applies to the items of a user, factorises such a matrix; this does it in closed form,
    without the shift by the number of negatives.

    Args:
        positives: user_id, item_id, ts: what users liked, in any order.
        before: only events earlier than this moment are used.
        dim: K.
        seed: of the solver's first guess.

    Returns:
        item_id str, vector list[f32]; sorted by item_id. Items that are never liked together with
        one that the others do not explain are absent.

    Raises:
        ValueError: there are not more than `dim` items to factorise.
    """
    liked = interaction_matrix(positives.filter(pl.col("ts") < before))
    matrix = ppmi(liked.liked_UI)
    if matrix.shape[0] <= dim:
        raise ValueError(f"dim must be less than the number of items, {matrix.shape[0]}, got {dim}")
    left_IK, size_K, _ = svds(matrix, k=dim, rng=np.random.default_rng(seed))
    vector_IK = left_IK * np.sqrt(size_K)
    norm_I = np.linalg.norm(vector_IK, axis=1)
    kept_I = np.flatnonzero(norm_I > 1e-9)  # an item without PPMI has a row of rounding errors
    unit_IK = vector_IK[kept_I] / norm_I[kept_I, None]
    return pl.DataFrame(
        {
            "item_id": [liked.item_ids[row] for row in kept_I],
            "vector": unit_IK.astype(np.float32).tolist(),
        },
        schema={"item_id": pl.String, "vector": pl.List(pl.Float32)},
    )


def with_popularity(
    behaviour: pl.DataFrame, positives: pl.DataFrame, *, before: datetime, share: float
) -> pl.DataFrame:
    """Return the behaviour vectors with one number more: how popular the item is.

    Cosines of PPMI vectors tell who goes with whom and not how many like them, and a normalised
    vector has no length to say it with. Here it is a direction that all items share::

        p_i = share (2 log(1 + users of i) / log(1 + users of the most popular) - 1)
        v_i = [sqrt(1 - p_i^2) u_i, p_i]

    so that a mean of liked items, most of which are popular, lies nearer to popular ones. What few
    like points the other way: were it at 0, all items would have the direction in common, and a
    model that is taught it would learn that instead of the difference. Ours.

    Args:
        behaviour: item_id, vector, as `behaviour_vectors` gives them.
        positives: user_id, item_id, ts: what users liked, in any order.
        before: only events earlier than this moment are counted.
        share: what the most popular item has in this direction, in [0, 1); 0 changes no cosine.
            An item that nobody likes would have as much against it.

    Returns:
        Layout of `behaviour`, each vector longer by one.
    """
    num_users = (
        positives.filter(pl.col("ts") < before)
        .group_by("item_id")
        .agg(pl.col("user_id").n_unique().alias("num_users"))
    )
    counted = behaviour.join(num_users, on="item_id", maintain_order="left")["num_users"]
    size_I = np.log1p(counted.to_numpy().astype(np.float64))
    part_I = share * (2 * size_I / np.log1p(num_users["num_users"].to_numpy().max()) - 1)
    unit_IK = np.array(behaviour["vector"].to_list()) * np.sqrt(1 - part_I**2)[:, None]
    longer_IK = np.column_stack([unit_IK, part_I]).astype(np.float32)
    return behaviour.with_columns(vector=pl.Series(longer_IK.tolist(), dtype=pl.List(pl.Float32)))


def without_popularity(behaviour_IK: np.ndarray, aligned_ID: np.ndarray) -> np.ndarray:
    """Return [I, D] the aligned vectors without the direction that `with_popularity` added.

    Args:
        behaviour_IK: from `with_popularity`, whose last number says how popular an item is.
        aligned_ID: the same, turned by `procrustes_align`.
    """
    turn_KD, *_ = np.linalg.lstsq(behaviour_IK, aligned_ID)
    liked_ID = behaviour_IK[:, :-1] @ turn_KD[:-1]
    normalised: np.ndarray = liked_ID / np.linalg.norm(liked_ID, axis=1, keepdims=True)
    return normalised


def procrustes_align(behaviour_IK: np.ndarray, vectors_ID: np.ndarray) -> np.ndarray:
    """Orthogonal Procrustes: [I, D] behaviour vectors rotated to lie nearest to the model's.

    Cosines between them stay what they were, so a model that is trained to reproduce the turned
    vectors has the cosines of behaviour. SAIL-Embedding (section 3.3.5) learns a projection from
    the model's vectors to the recommender's instead, and its loss is not public; a fixed turn is
    our choice: a learnt projection can please the loss while the space itself stays as it was. The
    turn is the solution of the orthogonal Procrustes problem (Schönemann 1966), K dimensions going
    into D.

    Args:
        behaviour_IK: L2-normalised.
        vectors_ID: the model's vectors of the same items before training, L2-normalised.

    Raises:
        ValueError: K is larger than D.
    """
    if behaviour_IK.shape[1] > vectors_ID.shape[1]:
        raise ValueError(
            f"behaviour vectors must not be longer than the model's, {vectors_ID.shape[1]}, got "
            f"{behaviour_IK.shape[1]}; factorise with a smaller dim"
        )
    cross_KD = behaviour_IK.T.astype(np.float64) @ vectors_ID
    left_KK, _, right_KD = np.linalg.svd(cross_KD, full_matrices=False)
    return (behaviour_IK @ (left_KK @ right_KD)).astype(np.float32)
