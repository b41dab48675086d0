"""Ranking metrics, one value per group.

Conventions, where tools differ: ties are broken by item id, descending (trec_eval); an item counts
as relevant from relevance 1 on; negative and missing relevance gains nothing; a group with nothing
relevant scores 0 (LightGBM says 1). They agree with trec_eval, and where conventions coincide with
scikit-learn, ranx and LightGBM: see tests/evaluation/test_fixtures.py.

Legend: N = candidates, G = groups, J = judged items. `k` is a cut-off, None for all candidates.
"""

from typing import Literal

import numpy as np

from evaluation.rankings import Rankings

Gain = Literal["linear", "exp2"]
Ties = Literal["id_desc", "averaged"]


def ndcg(
    rankings: Rankings, *, k: int | None = None, gain: Gain = "linear", ties: Ties = "id_desc"
) -> np.ndarray:
    """[G] discounted gain over that of the ideal order, in [0, 1].

    Args:
        rankings: candidates and judgements.
        k: candidates counted, in both orders.
        gain: "linear": the relevance; "exp2": 2^relevance - 1, as LightGBM trains for.
        ties: "averaged" gives each of a set of equal scores the mean of their gains, which is the
            expectation over their orders (scikit-learn).
    """
    gain_N = _gains(rankings.relevance_N, gain)
    if ties == "averaged":
        gain_N = _mean_over_ties(rankings, gain_N)
    dcg_G = rankings.sum(gain_N * _discount(rankings.rank_N, k))
    ideal_G = rankings.sum_judged(
        _gains(rankings.judged_relevance_J, gain) * _discount(rankings.judged_rank_J, k)
    )
    return _ratio(dcg_G, ideal_G)


def precision(rankings: Rankings, *, k: int) -> np.ndarray:
    """[G] share of k places that hold a relevant item; places left empty hold none."""
    return rankings.sum(_hits(rankings, k)) / k


def recall(rankings: Rankings, *, k: int) -> np.ndarray:
    """[G] share of the relevant items that are among the first k."""
    return _ratio(rankings.sum(_hits(rankings, k)), num_relevant(rankings))


def hit(rankings: Rankings, *, k: int) -> np.ndarray:
    """[G] 1 when a relevant item is among the first k, else 0. Also called success."""
    return (rankings.sum(_hits(rankings, k)) > 0).astype(np.float64)


def average_precision(rankings: Rankings, *, k: int | None = None) -> np.ndarray:
    """[G] mean over all relevant items of the precision at each one's place; 0 beyond k."""
    hit_N = _hits(rankings, k)
    return _ratio(
        rankings.sum(hit_N * rankings.running(hit_N) / rankings.rank_N), num_relevant(rankings)
    )


def reciprocal_rank(rankings: Rankings, *, k: int | None = None) -> np.ndarray:
    """[G] one over the place of the first relevant item; 0 when none is among the first k."""
    hit_N = _hits(rankings, k)
    first_N = (hit_N > 0) & (rankings.running(hit_N) == 1)
    return rankings.sum(first_N / rankings.rank_N)


def r_precision(rankings: Rankings) -> np.ndarray:
    """[G] precision at R, the number of relevant items."""
    relevant_G = num_relevant(rankings)
    inside_N = rankings.rank_N <= relevant_G[rankings.group_N]
    return _ratio(rankings.sum(_hits(rankings, None) * inside_N), relevant_G)


def rank_biased_precision(rankings: Rankings, *, persistence: float = 0.95) -> np.ndarray:
    """[G] relevance met by a reader who goes on to the next place with this probability.

    Linear gain, so above 1 where relevance is (ranx; Moffat and Zobel 2008 for relevance 0 or 1).
    """
    weight_N = (1 - persistence) * persistence ** (rankings.rank_N - 1.0)
    return rankings.sum(_gains(rankings.relevance_N, "linear") * weight_N)


def bpref(rankings: Rankings) -> np.ndarray:
    """[G] share of judged pairs in right order, others left out (Buckley and Voorhees 2004)."""
    relevant_G = num_relevant(rankings)
    irrelevant_G = rankings.sum_judged(_is_irrelevant(rankings.judged_relevance_J))
    above_N = rankings.running(_is_irrelevant(rankings.relevance_N))
    most_N = relevant_G[rankings.group_N]
    pairs_N = np.minimum(relevant_G, irrelevant_G)[rankings.group_N]
    wrong_N = np.minimum(above_N, most_N) / np.maximum(pairs_N, 1)
    return _ratio(rankings.sum(_hits(rankings, None) * (1 - wrong_N)), relevant_G)


def num_relevant(rankings: Rankings) -> np.ndarray:
    """[G] relevant items judged, retrieved or not."""
    return rankings.sum_judged(rankings.judged_relevance_J >= 1)


def num_retrieved(rankings: Rankings) -> np.ndarray:
    """[G] candidates."""
    return rankings.sum(np.ones(len(rankings.rank_N)))


def num_relevant_retrieved(rankings: Rankings) -> np.ndarray:
    """[G] relevant candidates."""
    return rankings.sum(_hits(rankings, None))


def _gains(relevance: np.ndarray, gain: Gain) -> np.ndarray:
    positive = np.maximum(np.nan_to_num(relevance), 0)
    return positive if gain == "linear" else np.exp2(positive) - 1


def _discount(rank: np.ndarray, k: int | None) -> np.ndarray:
    return (1 / np.log2(rank + 1)) * _within(rank, k)


def _within(rank: np.ndarray, k: int | None) -> np.ndarray:
    return np.ones(len(rank), dtype=bool) if k is None else rank <= k


def _hits(rankings: Rankings, k: int | None) -> np.ndarray:
    """[N] 1.0 where a relevant item is among the first k."""
    relevant_N = np.nan_to_num(rankings.relevance_N) >= 1
    return (relevant_N & _within(rankings.rank_N, k)).astype(np.float64)


def _is_irrelevant(relevance: np.ndarray) -> np.ndarray:
    """1.0 where judged and found wanting; negative values mean "not judged" to trec_eval."""
    return ((relevance >= 0) & (relevance < 1)).astype(np.float64)


def _mean_over_ties(rankings: Rankings, gain_N: np.ndarray) -> np.ndarray:
    is_new = (np.diff(rankings.score_N, prepend=np.inf) != 0) | (rankings.rank_N == 1)
    tie_N = np.cumsum(is_new) - 1
    mean = np.bincount(tie_N, weights=gain_N) / np.bincount(tie_N)
    return mean[tie_N]


def _ratio(part_G: np.ndarray, whole_G: np.ndarray) -> np.ndarray:
    """Part over whole, 0 where there is no whole."""
    return np.divide(part_G, whole_G, out=np.zeros(len(part_G)), where=whole_G > 0)
