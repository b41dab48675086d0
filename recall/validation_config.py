"""What a version's collection must reach before it goes live; imports nothing heavy."""

from dataclasses import dataclass

MAX_DEPTH = 1_000  # candidates that recall answers with at most


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationConfig:
    """The thresholds; a share is in [0, 1], a cosine in [-1, 1]."""

    min_coverage: float = 0.95
    """Share of the living items, without those that the version failed to embed, that must be
    there."""

    min_self_retrieval: float = 0.99
    """Share of sampled items that come back first for their own vector."""

    min_recall: float = 0.95
    """Mean share of what exact search finds that the index finds too, at every depth and for every
    kind of query: items, profiles of users, texts."""

    depths: tuple[int, ...] = (10, 100, 1_000)
    """Candidates at which recall is measured; no more than there are items."""

    min_live_overlap: float = 0.0
    """Mean share of its ten neighbours that an item keeps from the live version. 0 reports it and
    never fails: a better model changes neighbours too."""

    max_score_shift: float = 2.0
    """How far the mean score of the ten best may be from the live version's. 2 reports it and never
    fails: every model has a scale of its own."""

    min_canary_cosine: float = 0.98
    """Cosine between the stored vector of an item and one made of it just now, the lowest."""

    min_centroid_cosine: float = 0.9
    """Cosine between the mean of the vectors and their mean at the version's last validation."""

    max_norm_drift: float = 0.01
    """How far the mean length of the vectors may be from 1."""

    max_reasoning_change: float = 1.0
    """How far the share of items that were reasoned about may be from that at the version's last
    validation. 1 reports it and never fails."""

    max_wait_hours: float = 0.0
    """How long an item may have been waiting for its embedding; 0 reports it and never fails."""

    max_judged_drop: float = 0.02
    """How much recall@10 of the judged queries may be below the live version's."""

    sample: int = 200
    """Items searched for by their own vectors; a quarter as many users are asked for."""

    encoded: int = 8
    """Items embedded anew, and titles asked for; 0 loads no model, and asks no judged query."""

    judged: int = 200
    """Judged queries that are asked, at most."""

    def __post_init__(self) -> None:
        for name in ("coverage", "self_retrieval", "recall", "live_overlap"):
            value = getattr(self, f"min_{name}")
            if not 0 <= value <= 1:
                raise ValueError(f"min_{name} must be in [0, 1], got {value}")
        for name in ("min_canary_cosine", "min_centroid_cosine"):
            if not -1 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [-1, 1], got {getattr(self, name)}")
        for name in ("score_shift", "norm_drift", "reasoning_change", "judged_drop"):
            if getattr(self, f"max_{name}") < 0:
                raise ValueError(f"max_{name} must be >= 0, got {getattr(self, f'max_{name}')}")
        if self.max_wait_hours < 0 or self.encoded < 0 or self.judged < 0:
            raise ValueError(
                "max_wait_hours, encoded and judged must be >= 0, got "
                f"{self.max_wait_hours}, {self.encoded} and {self.judged}"
            )
        if self.sample < 1:
            raise ValueError(f"sample must be >= 1, got {self.sample}")
        if not self.depths or not all(1 <= depth <= MAX_DEPTH for depth in self.depths):
            raise ValueError(f"depths must be in [1, {MAX_DEPTH}], got {self.depths}")
