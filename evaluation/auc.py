"""Area under the ROC curve: over all rows, and group by group.

An item is relevant from relevance 1 on. Legend: N = rows, G = groups.
"""

import numpy as np

from evaluation.rankings import Rankings


def auc(relevance: np.ndarray, score: np.ndarray, *, weight: np.ndarray | None = None) -> float:
    """Chance that a relevant row scores above another one; ties count half. NaN without both.

    Args:
        relevance: [N], relevant from 1 on.
        score: [N], higher is better.
        weight: [N] >= 0, how many times each row counts; once each when None.
    """
    weight = np.ones(len(score)) if weight is None else weight
    positive_N = relevance >= 1
    _, tie_N = np.unique(score, return_inverse=True)
    positive = np.bincount(tie_N, weights=weight * positive_N)
    negative = np.bincount(tie_N, weights=weight * ~positive_N)
    return _area(positive, negative)


def group_auc(rankings: Rankings) -> np.ndarray:
    """[G] AUC inside each group; NaN for a group without both a relevant and another item."""
    positive_N = (np.nan_to_num(rankings.relevance_N) >= 1).astype(np.float64)
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


def gauc(rankings: Rankings) -> float:
    """Mean of the groups' AUC, each weighing its candidates (Zhu et al. 2017).

    Groups without both kinds are left out; NaN when all are.
    """
    auc_G = group_auc(rankings)
    valid_G = np.isfinite(auc_G)
    if not valid_G.any():
        return float("nan")
    size_G = rankings.sum(np.ones(len(rankings.rank_N)))
    return float(np.average(auc_G[valid_G], weights=size_G[valid_G]))


def _area(positive: np.ndarray, negative: np.ndarray) -> float:
    """From the weights of both kinds at each distinct score, ascending."""
    below = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")
