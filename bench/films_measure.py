"""Where the answers come among all films, and how sure the means are.

Shape legend: Q = questions, B = questions of a block, N = films, D = embedding dimension
"""

from collections.abc import Callable, Mapping

import numpy as np

from bench.films_split import Questions
from evaluation.bootstrap import Interval, bootstrap_difference, bootstrap_mean
from evaluation.exact_ranking import SCORE_DECIMALS
from evaluation.metrics import measure
from evaluation.rankings import Rankings
from features.profile import ProfileConfig, profile_vector

BLOCK = 128
K = 10

Scores = Callable[[list[list[int]]], np.ndarray]
"""From the histories of B questions to [B, N] scores of all films, larger is better."""


def ranks(
    scores: Scores, questions: Questions, candidates: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return [Q] by candidates: place of each answer among those that are not left out, from 1.

    Scores that agree to six decimals are equal, as in recall; equal films stand in order of id. A
    question without a history, or whose answer is no candidate, has rank infinity.

    Args:
        scores: of all films.
        questions: what is asked.
        candidates: [N] by name, whether a film may be recommended.
    """
    rank_of = {name: np.full(len(questions.answers), np.inf) for name in candidates}
    asked = [q for q, history in enumerate(questions.histories) if history]
    for start in range(0, len(asked), BLOCK):
        block = asked[start : start + BLOCK]
        score_BN = scores([questions.histories[q] for q in block])
        score_BN = np.round(score_BN.astype(np.float64), SCORE_DECIMALS)
        for row_N, q in zip(score_BN, block, strict=True):
            answer = questions.answers[q]
            row_N[questions.left_out[q]] = -np.inf
            above_N = row_N > row_N[answer]
            above_N[:answer] |= row_N[:answer] == row_N[answer]
            for name, candidate_N in candidates.items():
                if candidate_N[answer]:
                    rank_of[name][q] = (above_N & candidate_N).sum() + 1
    return rank_of


def metrics(rank_Q: np.ndarray) -> dict[str, np.ndarray]:
    """Return [Q] by name: hit@10, which with one right answer is recall@10 too, and NDCG@10."""
    return measure(Rankings.of_places(rank_Q), (f"hit@{K}", f"ndcg@{K}"))


def by_vectors(item_ND: np.ndarray, query_ND: np.ndarray | None = None) -> Scores:
    """Score by cosine to the profile of the history, weighted as the recall service does.

    Args:
        item_ND: vectors of all films, L2-normalised.
        query_ND: of all films as they ask; None: as items.
    """
    asking_ND = item_ND if query_ND is None else query_ND
    config = ProfileConfig()

    def scores(histories: list[list[int]]) -> np.ndarray:
        profiles = [
            profile_vector(asking_ND[history[: config.max_history]], half_life=config.half_life)
            for history in histories
        ]
        return np.stack(profiles).astype(np.float64) @ item_ND.astype(np.float64).T

    return scores


def blended(one: Scores, other: Scores, *, weight: float) -> Scores:
    """Return the scores of one plus `weight` times those of the other."""
    return lambda histories: one(histories) + weight * other(histories)


def mean(value_Q: np.ndarray, users: np.ndarray) -> Interval:
    """Return the mean over questions, with a 95 % interval from whole users drawn again."""
    return bootstrap_mean(value_Q, cluster_G=users)


def gain(value_Q: np.ndarray, baseline_Q: np.ndarray, users: np.ndarray) -> Interval:
    """Return the mean difference, question by question, with an interval as of `mean`."""
    return bootstrap_difference(value_Q, baseline_Q, cluster_G=users)
