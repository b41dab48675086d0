"""Whether scores are probabilities: logloss, reliability, and a mapping that makes them so.

Shape legend: N = rows, K = bins.
"""

from dataclasses import dataclass

import numpy as np

from evaluation.bootstrap import Interval, bootstrap_mean

TINY = 1e-15  # a probability of exactly 0 or 1 would cost infinitely much once it is wrong


@dataclass(frozen=True, kw_only=True, slots=True)
class Platt:
    """A probability of being relevant for each score: 1 / (1 + exp(-(slope * score + intercept))).

    Platt 1999, without his prior on the targets.
    """

    slope: float
    intercept: float

    @classmethod
    def fitted(cls, score_N: np.ndarray, positive_N: np.ndarray) -> "Platt":
        """Return the mapping of least logloss.

        Args:
            score_N: any scale.
            positive_N: bool.

        Returns:
            A slope of 0 where only one kind is there, or all scores are equal.
        """
        rate = np.clip(positive_N.mean(), TINY, 1 - TINY)
        flat = cls(slope=0.0, intercept=float(np.log(rate / (1 - rate))))
        spread = score_N.std()
        if not spread or rate in (TINY, 1 - TINY):
            return flat
        standard_N = (score_N - score_N.mean()) / spread
        slope, intercept = _newton(standard_N, positive_N.astype(np.float64), flat.intercept)
        slope = slope / spread
        return cls(slope=float(slope), intercept=float(intercept - slope * score_N.mean()))

    def probabilities(self, score_N: np.ndarray) -> np.ndarray:
        """Return [N] probabilities in (0, 1)."""
        return _sigmoid(self.slope * score_N + self.intercept)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """Rows of about equal probability."""

    predicted: float
    """Their mean probability."""

    observed: float
    """The share of them that is relevant."""

    num_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """How good probabilities are. Intervals draw users."""

    logloss: Interval
    """Mean of -ln of the probability of what happened, in nats; lower is better."""

    gain: Interval | None
    """The logloss of the baseline minus this one, row by row; None of the baseline itself."""

    error: float
    """Mean distance of predicted and observed over the bins, weighed by their rows, in [0, 1]."""

    bins: list[Bin]


def calibration(
    probability_N: np.ndarray,
    positive_N: np.ndarray,
    user_N: np.ndarray,
    *,
    baseline_N: np.ndarray | None = None,
    num_bins: int = 10,
    num_resamples: int = 500,
    seed: int = 0,
) -> Calibration:
    """Measure probabilities.

    Args:
        probability_N: in [0, 1].
        positive_N: bool.
        user_N: whose row each is, for the intervals.
        baseline_N: other probabilities of the same rows.
        num_bins: of `reliability`.
        num_resamples: of the intervals.
        seed: of the intervals.
    """
    loss_N = log_loss(probability_N, positive_N)

    def mean(value_N: np.ndarray) -> Interval:
        return bootstrap_mean(value_N, cluster_G=user_N, num_resamples=num_resamples, seed=seed)

    gain = None
    if baseline_N is not None:
        gain = mean(log_loss(baseline_N, positive_N) - loss_N)
    bins = reliability(probability_N, positive_N, num_bins=num_bins)
    distances = [abs(b.predicted - b.observed) * b.num_rows for b in bins]
    return Calibration(
        logloss=mean(loss_N),
        gain=gain,
        error=sum(distances) / max(len(probability_N), 1),
        bins=bins,
    )


def log_loss(probability_N: np.ndarray, positive_N: np.ndarray) -> np.ndarray:
    """Return [N] -ln of the probability that was given to what happened, in nats."""
    clipped_N = np.clip(probability_N, TINY, 1 - TINY)
    return -np.log(np.where(positive_N, clipped_N, 1 - clipped_N))


def reliability(
    probability_N: np.ndarray, positive_N: np.ndarray, *, num_bins: int = 10
) -> list[Bin]:
    """Return bins of equally many rows by rising probability, as far as ties allow; none is empty.

    Equal probabilities are in one bin, so that the order of rows says nothing.
    """
    if not len(probability_N):
        return []
    inner = np.arange(1, num_bins) / num_bins
    edges = np.unique(np.quantile(probability_N, inner))
    bin_N = np.searchsorted(edges, probability_N, side="left")
    return [
        Bin(
            predicted=float(probability_N[here].mean()),
            observed=float(positive_N[here].mean()),
            num_rows=int(here.sum()),
        )
        for here in (bin_N == b for b in np.unique(bin_N))
    ]


def _newton(x_N: np.ndarray, y_N: np.ndarray, intercept: float) -> tuple[float, float]:
    """Fit a logistic regression of one feature; a touch of ridge keeps separable rows finite."""
    weights = np.array([0.0, intercept])
    design_N2 = np.stack([x_N, np.ones_like(x_N)], axis=1)
    ridge = np.array([1e-6, 0.0])
    for _ in range(50):
        p_N = _sigmoid(design_N2 @ weights)
        gradient = design_N2.T @ (p_N - y_N) + ridge * weights
        hessian = (design_N2 * (p_N * (1 - p_N))[:, None]).T @ design_N2 + np.diag(ridge + 1e-12)
        step = np.linalg.solve(hessian, gradient)
        weights = weights - np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    return float(weights[0]), float(weights[1])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))
