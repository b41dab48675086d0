"""Metrics of rankings, one value per group, and their means.

Conventions, where tools differ: an item counts as relevant from relevance 1 on; negative and
missing relevance gains nothing; a group with nothing relevant scores 0 (LightGBM says 1). They
agree with trec_eval, and where conventions coincide with scikit-learn, ranx and LightGBM: see
tests/evaluation/test_fixtures.py.

Legend: N = candidates or rows, G = groups, J = judged items. `k` is a cut-off, None for all
candidates.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import numpy as np

from evaluation.rankings import Rankings

Gain = Literal["linear", "exp2"]

Scores = dict[str, np.ndarray]
"""Metric, such as `ndcg@10` -> [G] its value for each group."""


def measure(rankings: Rankings, names: Iterable[str]) -> Scores:
    """Return [G] values of each named metric: `hit@k`, `recall@k`, `ndcg@k` or `mrr`.

    Example:
        >>> measure(Rankings.of_places(np.array([1, 3])), ["hit@1", "mrr"])
        {'hit@1': array([1., 0.]), 'mrr': array([1.        , 0.33333333])}
    """
    return {name: _measured(rankings, name) for name in names}


def means(scores: Mapping[str, np.ndarray], rows: np.ndarray | None = None) -> dict[str, float]:
    """Return the mean of each metric over all groups, or over some rows of them."""
    every = slice(None) if rows is None else rows
    return {name: float(value_G[every].mean()) for name, value_G in scores.items()}


def weighted_mean(value_G: np.ndarray, weight_G: np.ndarray) -> float:
    """Return the mean of the values that are numbers; NaN when none of them has a weight."""
    weight_G = weight_G * np.isfinite(value_G)
    total = weight_G.sum()
    return float((np.nan_to_num(value_G) * weight_G).sum() / total) if total else float("nan")


def hit(rankings: Rankings, *, k: int | None = None) -> np.ndarray:
    """Hit: [G] 1 when a relevant item is among the first k, else 0. Also called success."""
    return (rankings.sum(_hits(rankings, k)) > 0).astype(np.float64)


def recall(rankings: Rankings, *, k: int | None = None) -> np.ndarray:
    """Recall: [G] share of the relevant items that are among the first k."""
    return _ratio(rankings.sum(_hits(rankings, k)), num_relevant(rankings))


def ndcg(rankings: Rankings, *, k: int | None = None, gain: Gain = "linear") -> np.ndarray:
    """NDCG: [G] discounted gain over that of the ideal order, in [0, 1].

    The discount is 1 / log2(rank + 1).

    Args:
        rankings: candidates and judgements.
        k: candidates counted, in both orders.
        gain: "linear": the relevance; "exp2": 2^relevance - 1, as LightGBM trains for.
    """
    dcg_G = rankings.sum(_gains(rankings.relevance_N, gain) * _discount(rankings.rank_N, k))
    ideal_G = rankings.sum_judged(
        _gains(rankings.judged_relevance_J, gain) * _discount(rankings.judged_rank_J, k)
    )
    return _ratio(dcg_G, ideal_G)


def reciprocal_rank(rankings: Rankings, *, k: int | None = None) -> np.ndarray:
    """Reciprocal rank, whose mean is MRR: [G] one over the place of the first relevant item.

    0 when none is among the first k.
    """
    hit_N = _hits(rankings, k)
    first_N = (hit_N > 0) & (rankings.running(hit_N) == 1)
    return rankings.sum(first_N / rankings.rank_N)


def auc(
    relevance_N: np.ndarray, score_N: np.ndarray, *, weight_N: np.ndarray | None = None
) -> float:
    """AUC: the chance that a relevant row scores above another one; ties count half.

    Args:
        relevance_N: relevant from 1 on.
        score_N: higher is better.
        weight_N: >= 0, how many times each row counts; once each when None.

    Returns:
        NaN without both kinds.
    """
    weight_N = np.ones(len(score_N)) if weight_N is None else weight_N
    return weighted_auc(relevance_N, score_N)(weight_N)


def weighted_auc(relevance_N: np.ndarray, score_N: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return `auc` as a function of the weights alone: the scores are sorted once."""
    positive_N = relevance_N >= 1
    _, tie_N = np.unique(score_N, return_inverse=True)

    def of_weights(weight_N: np.ndarray) -> float:
        positive = np.bincount(tie_N, weights=weight_N * positive_N)
        negative = np.bincount(tie_N, weights=weight_N * ~positive_N)
        below = np.cumsum(negative) - negative
        pairs = positive.sum() * negative.sum()
        return float((positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")

    return of_weights


def group_auc(rankings: Rankings) -> np.ndarray:
    """AUC inside each group, [G]; NaN for a group without both a relevant and another item.

    Its mean, each group weighing its candidates, is GAUC (Zhu et al. 2017).
    """
    positive_N = _hits(rankings, None)
    # In ranking order the negatives above a positive are lost pairs; ties give half back.
    negative_N = 1 - positive_N
    tie_N = np.cumsum((np.diff(rankings.score_N, prepend=np.inf) != 0) | (rankings.rank_N == 1)) - 1
    tied = np.bincount(tie_N, weights=negative_N)[tie_N] if len(tie_N) else negative_N
    last_N = np.flatnonzero(np.diff(tie_N, append=len(tie_N)))
    above_N = rankings.running(negative_N)[last_N][tie_N] - tied if len(tie_N) else tied
    total_G = rankings.sum(negative_N)
    below_N = total_G[rankings.group_N] - above_N - tied
    won_G = rankings.sum(positive_N * (below_N + tied / 2))
    pairs_G = rankings.sum(positive_N) * total_G
    return np.divide(won_G, pairs_G, out=np.full(len(won_G), np.nan), where=pairs_G > 0)


def num_relevant(rankings: Rankings) -> np.ndarray:
    """Return [G] the number of relevant items judged, retrieved or not."""
    return rankings.sum_judged(rankings.judged_relevance_J >= 1)


def num_retrieved(rankings: Rankings) -> np.ndarray:
    """Return [G] the number of candidates."""
    return rankings.sum(np.ones(len(rankings.rank_N)))


_METRICS: dict[str, Callable[..., np.ndarray]] = {
    "hit": hit,
    "recall": recall,
    "ndcg": ndcg,
    "mrr": reciprocal_rank,
}


def _measured(rankings: Rankings, name: str) -> np.ndarray:
    metric, _, k = name.partition("@")
    return _METRICS[metric](rankings, k=int(k) if k else None)


def _gains(relevance: np.ndarray, gain: Gain) -> np.ndarray:
    positive = np.maximum(np.nan_to_num(relevance), 0)
    return positive if gain == "linear" else np.exp2(positive) - 1


def _discount(rank: np.ndarray, k: int | None) -> np.ndarray:
    return (1 / np.log2(rank + 1)) * _within(rank, k)


def _within(rank: np.ndarray, k: int | None) -> np.ndarray:
    return np.ones(len(rank), dtype=bool) if k is None else rank <= k


def _hits(rankings: Rankings, k: int | None) -> np.ndarray:
    """Return [N] 1.0 where a relevant item is among the first k."""
    relevant_N = np.nan_to_num(rankings.relevance_N) >= 1
    return (relevant_N & _within(rankings.rank_N, k)).astype(np.float64)


def _ratio(part_G: np.ndarray, whole_G: np.ndarray) -> np.ndarray:
    """Return part over whole, 0 where there is no whole."""
    return np.divide(part_G, whole_G, out=np.zeros(len(part_G)), where=whole_G > 0)
