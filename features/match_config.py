"""Which features are made of the cosines of a candidate with a history."""

import math
from dataclasses import dataclass

from features.history_profiles import Profiles

DETAILS = (
    *("match_profile", "match_std", "match_median", "match_last5_mean"),
    *("match_max_age_h", "match_near_share", "match_near_age_h"),
    *("history_newest_h", "history_span_h"),
    *("match_category_size", "match_category_max", "match_category_mean"),
    "match_candidates_mean",
)

CLUSTERS = ("match_cluster_share", "match_cluster_age_h")

FEEDBACK = (
    *("strong_size", "strong_max", "strong_top3_mean", "strong_last", "strong_profile"),
    *("session_size", "session_max", "session_mean"),
    *("skip_size", "skip_max", "skip_top3_mean", "skip_last", "skip_profile"),
    *("match_over_skip_max", "match_over_skip_top3"),
    *("outcome_near", "outcome_recent"),
)

SIZES = ("match_category_size", "strong_size", "session_size", "skip_size")
"""Counts of items, which are there whether the candidate has a vector or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchConfig:
    """Which match features are made."""

    slots: int = 50
    """Newest history items compared; a longer history is cut. Fixed, for a sum's last bits hang
    on how many slots it runs over."""

    top_k: tuple[int, ...] = (3, 5, 10)
    """Mean of the k largest similarities, for each k; of all there are when fewer."""

    half_lives_days: tuple[int, ...] = (1, 7, 30)
    """An item of this age weighs half in the profile, for each profile."""

    num_tiers: int = 8
    """Tiers of the similarity histogram, between `num_tiers - 1` edges; 0: none."""

    num_clusters: int = 32
    """Clusters of the vectors of a reference; 0: none."""

    num_nearest: int = 10
    """Largest similarities given one by one, from the second on; 1: none."""

    details: bool = True
    """Whether spread, ages, categories and the other candidates are told of."""

    feedback: bool = True
    """Whether what was liked strongly, in this session, or skipped is told of apart."""

    clusters: bool = False
    """Whether the candidate's cluster is told of."""

    session_h: float = 1.0
    """What was liked so long before the request belongs to its session."""

    skip_slots: int = 20
    """Newest skipped items compared."""

    temperature: float = 0.1
    """Of cosines in `outcome_near`: an item nearer by this much weighs e times as much."""

    outcome_half_life_days: float = 7.0
    """An item of this age weighs half in `outcome_recent`."""

    relative: tuple[str, ...] = ("match_max", "match_mean", "match_top3_mean", "match_profile_7d")
    """Features that are also given as their rank and their gap within the request."""

    def __post_init__(self) -> None:
        least = min(self.slots, self.skip_slots, self.num_nearest, *self.top_k)
        if least <= 0 or min(self.half_lives_days, default=1) <= 0:
            raise ValueError(
                "slots, skip_slots, num_nearest, top_k and half_lives_days must be > 0, got "
                f"{self.slots}, {self.skip_slots}, {self.num_nearest}, {self.top_k} and "
                f"{self.half_lives_days}"
            )
        if min(self.session_h, self.temperature, self.outcome_half_life_days) <= 0:
            raise ValueError(
                "session_h, temperature and outcome_half_life_days must be > 0, got "
                f"{self.session_h}, {self.temperature} and {self.outcome_half_life_days}"
            )
        for name, number in (("num_tiers", self.num_tiers), ("num_clusters", self.num_clusters)):
            if number < 2 and number != 0:
                raise ValueError(f"{name} must be 0 or >= 2, got {number}")
        unknown = set(self.relative) - set(self.similarity_names())
        if unknown:
            raise ValueError(
                f"relative must name similarities, got {sorted(unknown)}; "
                f"there are {self.similarity_names()}"
            )

    @property
    def liked_profiles(self) -> Profiles:
        """What candidates are compared with of the items that were liked."""
        halves = [24.0 * days for days in self.half_lives_days]
        return Profiles(
            half_lives_h=(*halves, *([math.inf] if self.details else [])),
            with_strong=self.feedback,
            with_details=self.details or self.feedback or self.clusters,
            with_clusters=self.clusters,
            with_others=self.details,
        )

    def similarity_names(self) -> list[str]:
        """Return the names of the features that are cosines, in the order they are made."""
        return [
            "match_max",
            "match_mean",
            *(f"match_top{k}_mean" for k in self.top_k),
            "match_last",
            "match_last5_max",
            *(f"match_profile_{days}d" for days in self.half_lives_days),
        ]

    def tier_names(self) -> list[str]:
        """Return the names of the histogram's features: shares, then log counts; tier 0 is far."""
        tiers = range(self.num_tiers)
        return [f"match_tier{t}_share" for t in tiers] + [f"match_tier{t}_log1p" for t in tiers]

    def detail_names(self) -> list[str]:
        """Return the names of the features that say more of what was liked."""
        nearest = [f"match_nearest{n}" for n in range(2, self.num_nearest + 1)]
        return [*nearest, *DETAILS] if self.details else []

    def value_names(self) -> list[str]:
        """Return the names of all that cosines are summed up to, in the order they are made."""
        own = [*self.similarity_names(), *self.tier_names(), *self.detail_names()]
        return own + self.feedback_names() + self.cluster_names()

    def feedback_names(self) -> list[str]:
        """Return the names of the features of the group "feedback"."""
        return list(FEEDBACK) if self.feedback else []

    def cluster_names(self) -> list[str]:
        """Return the names of the features of the group "clusters"."""
        return list(CLUSTERS) if self.clusters else []
