"""How a ranker's order gets better with every tree: on what it learnt from, and on the test."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from evaluation.metrics import ndcg, num_relevant
from evaluation.rankings import Rankings
from features.requests import numbered
from features.table import FeatureTable
from ranker.model import Ranker

NUM_POINTS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """A ranker that was stopped early."""

    num_trees: int
    """Of each member."""

    train: float
    """ndcg@10 on the requests learnt from."""

    test: float
    """ndcg@10 on the later ones."""


def learning_curve(ranker: Ranker, before: FeatureTable, after: FeatureTable) -> list[CurvePoint]:
    """Return points at equal steps, the last with all trees; NaN where nothing is relevant."""
    most = max(booster.num_trees() for booster in ranker.boosters)
    steps = sorted({max(most * n // NUM_POINTS, 1) for n in range(1, NUM_POINTS + 1)})
    return [
        CurvePoint(
            num_trees=step,
            train=_ndcg(before.frame, ranker.predict(before, num_trees=step)),
            test=_ndcg(after.frame, ranker.predict(after, num_trees=step)),
        )
        for step in steps
    ]


def _ndcg(frame: pl.DataFrame, score_N: np.ndarray) -> float:
    scored = numbered(frame).with_columns(score=pl.Series(score_N))
    rankings = Rankings.of(scored, group="request")
    answered_G = num_relevant(rankings) > 0
    if not answered_G.any():
        return float("nan")
    return float(ndcg(rankings, k=10, gain="exp2")[answered_G].mean())
