"""How good a ranking is, measured against every item and not against a sample of them.

Shape legend: Q = queries, N = items, D = embedding dimension, K = ranks.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from features.profile import profile_vector

SCORE_DECIMALS = 6  # as the index rounds: equal items tie, whatever batch they are scored in
QUERY_BLOCK = 64  # queries scored at once, to bound the memory of their [Q, N] scores


def rank_all(
    query_vectors_QD: np.ndarray,
    item_vectors_ND: np.ndarray,
    item_ids: Sequence[str],
    *,
    top_k: int,
    exclude: Sequence[Collection[str]] | None = None,
) -> list[list[str]]:
    """Ids of each query's best items, best first; equal scores in order of id.

    Every item is scored, in float64. Scores that agree to six decimals are equal, which is what
    makes the order independent of the batch.

    Args:
        query_vectors_QD: L2-normalised.
        item_vectors_ND: L2-normalised, in the order of `item_ids`.
        item_ids: unique.
        top_k: items to return per query, >= 1; fewer when there are fewer.
        exclude: for each query, ids that must not come back.

    Raises:
        ValueError: the ids and vectors differ in number, or `top_k` is not positive.
    """
    if len(item_ids) != len(item_vectors_ND):
        raise ValueError(
            f"item_ids must have length {len(item_vectors_ND)}, one per vector, got {len(item_ids)}"
        )
    if top_k < 1:
        raise ValueError(f"top_k must be >= 1, got {top_k}")
    by_id_N = np.argsort(np.asarray(item_ids, dtype=object), kind="stable")
    ids = [item_ids[n] for n in by_id_N]
    position = {item_id: n for n, item_id in enumerate(ids)}
    ranked = []
    for q, score_N in enumerate(_scores(query_vectors_QD, item_vectors_ND[by_id_N])):
        if exclude is not None:
            score_N[[position[i] for i in exclude[q] if i in position]] = -np.inf
        ranked.append([ids[n] for n in _best(score_N, top_k=top_k)])
    return ranked


def _scores(query_vectors_QD: np.ndarray, item_vectors_ND: np.ndarray) -> Iterator[np.ndarray]:
    items_DN = item_vectors_ND.astype(np.float64).T
    for start in range(0, len(query_vectors_QD), QUERY_BLOCK):
        block_QD = query_vectors_QD[start : start + QUERY_BLOCK].astype(np.float64)
        yield from np.round(block_QD @ items_DN, SCORE_DECIMALS)


def _best(score_N: np.ndarray, *, top_k: int) -> np.ndarray:
    last = max(len(score_N) - top_k, 0)
    edge = np.partition(score_N, last)[last]
    candidates = np.flatnonzero((score_N >= edge) & (score_N > -np.inf))
    return candidates[np.argsort(-score_N[candidates], kind="stable")][:top_k]


def hit_at_k(ranked: Sequence[str], relevant: Collection[str], *, k: int) -> float:
    """1.0 when one of the first `k` items is relevant, else 0.0."""
    return float(any(item_id in relevant for item_id in ranked[:k]))


def recall_at_k(ranked: Sequence[str], relevant: Collection[str], *, k: int) -> float:
    """Fraction of the relevant items that are among the first `k`, in [0, 1]."""
    return sum(item_id in relevant for item_id in ranked[:k]) / len(relevant)


def ndcg_at_k(ranked: Sequence[str], relevant: Collection[str], *, k: int) -> float:
    """Discounted gain of the first `k` items over the best possible one, in [0, 1].

    Relevance is binary and the discount is 1 / log2(rank + 1).
    """
    discount_K = 1 / np.log2(np.arange(2, k + 2))
    gain = sum(discount_K[r] for r, item_id in enumerate(ranked[:k]) if item_id in relevant)
    return float(gain / discount_K[: len(relevant)].sum())


def ranking_metrics(
    ranked: Sequence[Sequence[str]],
    relevant: Sequence[Collection[str]],
    *,
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Means over queries of `hit@k`, `recall@k` and `ndcg@k`, for each k.

    Args:
        ranked: for each query, unique ids, best first, at least max(ks) of them where they exist.
        relevant: for each query, the ids that should be found, at least one.
        ks: depths, each >= 1.

    Raises:
        ValueError: there are no queries, the two differ in number, or a query has nothing
            relevant, for which no metric is defined.
    """
    if not ranked or len(ranked) != len(relevant):
        raise ValueError(
            "ranked and relevant must have one entry per query, at least one, "
            f"got {len(ranked)} and {len(relevant)}"
        )
    if num_empty := sum(not ids for ids in relevant):
        raise ValueError(f"every query must have a relevant item, got {num_empty} without one")
    measures = {"hit": hit_at_k, "recall": recall_at_k, "ndcg": ndcg_at_k}
    return {
        f"{name}@{k}": float(
            np.mean([f(r, ids, k=k) for r, ids in zip(ranked, relevant, strict=True)])
        )
        for name, f in measures.items()
        for k in ks
    }


def leave_last_out(
    histories: Mapping[str, Sequence[str]],
    item_vectors_ND: np.ndarray,
    item_ids: Sequence[str],
    *,
    half_life: float = 10.0,
    max_history: int = 50,
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """How well a user's profile finds the newest item of their history.

    The newest item is held out, the profile is made of the ones before it, and these are left out
    of the ranking. Items without a vector are passed over; so is a user who then has fewer than
    two different items, or whose newest item is one they had before.

    Args:
        histories: by user, item ids, newest first.
        item_vectors_ND: L2-normalised, in the order of `item_ids`.
        item_ids: unique.
        half_life: as in `features.profile.profile_vector`.
        max_history: newest items that shape a profile.
        ks: depths, each >= 1.

    Returns:
        num_users, those that were judged, and the metrics of `ks`, means over them.

    Raises:
        ValueError: no user is left.
    """
    row_of = {item_id: n for n, item_id in enumerate(item_ids)}
    profiles, seen, held_out = [], [], []
    for _, history in sorted(histories.items()):
        known = [item_id for item_id in history if item_id in row_of]
        if len(known) < 2 or known[0] in known[1:]:
            continue
        rows = [row_of[item_id] for item_id in known[1 : max_history + 1]]
        profiles.append(profile_vector(item_vectors_ND[rows], half_life=half_life))
        seen.append(set(known[1:]))
        held_out.append({known[0]})
    if not profiles:
        raise ValueError(
            f"histories must hold a user with two different embedded items, got {len(histories)} "
            "users and none such"
        )
    ranked = rank_all(np.stack(profiles), item_vectors_ND, item_ids, top_k=max(ks), exclude=seen)
    return {"num_users": len(held_out), **ranking_metrics(ranked, held_out, ks=ks)}
