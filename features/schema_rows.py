"""What the features are called, what they mean and how they are made, group by group."""

from collections.abc import Iterable
from typing import Literal

from catalog.lake.tables import MAX_CODE_LEVELS
from features.behaviour import BehaviourConfig
from features.code_overlap import CodeConfig
from features.collaborative import NeighbourConfig
from features.match_config import SIZES, MatchConfig

FeatureType = Literal["Float32", "UInt32", "Boolean"]

Row = tuple[str, FeatureType, str, str]
"""Name, type, description and formula of a feature."""


def collaborative_rows(config: NeighbourConfig) -> list[Row]:
    """Return the rows of the group "collaborative"."""
    told: tuple[tuple[str, str, str], ...] = (
        (
            "co_decayed",
            "liked together with the history, older items counting less",
            f"sum {config.decay} ^ place * k",
        ),
        ("co_mean", "liked together with the history on average", "mean k"),
        ("co_max", "liked together with the history item closest so", "max k"),
        ("co_top3_mean", "the same of the 3 closest", "mean of the 3 largest k"),
        ("co_last", "liked together with the newest history item", "k of the newest"),
        ("co_last5_max", "closest of the five newest", "max k of the five newest"),
        ("co_share", "share of the history liked with it at all", "count of k > 0 / n"),
    )
    return _floats(told) + _relatives(config.relative, "co_")


def swing_rows(config: NeighbourConfig) -> list[Row]:
    """Return the rows of the group "swing" (Yang et al. 2020)."""
    told = (
        (
            "swing_decayed",
            "Swing with the history, older items counting less",
            f"sum {config.decay} ^ place * w",
        ),
        ("swing_max", "Swing with the history item closest so", "max w"),
        ("swing_top3_mean", "the same of the 3 closest", "mean of the 3 largest w"),
        ("swing_last5_max", "closest of the five newest", "max w of the five newest"),
    )
    return _floats(told) + _relatives(config.relative, "swing_")


def behaviour_rows(config: BehaviourConfig) -> list[Row]:
    """Return the rows of the group "behaviour"."""
    days = f"{config.half_life_days:g}"
    told = (
        ("behaviour_max", "cosine by who likes what: nearest history item", "max b"),
        ("behaviour_top3_mean", "mean of the 3 nearest", "mean of the 3 largest b"),
        ("behaviour_mean", "mean over the history", "mean b"),
        ("behaviour_last", "newest history item", "b of the newest"),
        (
            "behaviour_profile",
            f"profile with a half-life of {days} days",
            f"normalise(sum 2^(-a / {days} d) vector) . candidate's vector",
        ),
    )
    return _floats(told) + _relatives(config.relative, "behaviour_")


def code_rows(config: CodeConfig) -> list[Row]:
    """Return the rows of the group "codes"."""
    days = f"{config.half_life_days:g}"
    weight = f"2^(-a / {days} d)"
    told = (
        ("code_prefix_max", "codes shared with the history item that shares most", "max p"),
        ("code_prefix_mean", "codes shared with the history on average", "mean p"),
        (
            "code_prefix_decayed",
            f"the same, with a half-life of {days} days",
            f"sum {weight} p / sum {weight}",
        ),
        ("code_prefix_last", "codes shared with the newest history item", "p of the newest"),
        ("code_1_share", "share of the history with the same first code", "count of p >= 1 / n"),
        ("code_2_share", "share with the same first two codes", "count of p >= 2 / n"),
        ("code_3_share", "share with the same first three codes", "count of p >= 3 / n"),
        ("code_1_age_h", "age of the newest item with the same first code", "min a of p >= 1"),
        ("code_2_age_h", "age of the newest with the same first two codes", "min a of p >= 2"),
    )
    return _floats(told) + _relatives(config.relative, "code_")


def match_rows(config: MatchConfig) -> list[Row]:
    """Return the rows of the group "match"."""
    rows: list[Row] = [
        (
            "history_size",
            "UInt32",
            "items in the history, the candidate and its duplicates left out",
            "n",
        ),
        ("is_repeat", "Boolean", "the candidate is in the history", "c in history"),
        ("has_vector", "Boolean", "the candidate has a vector", "c is known"),
        *_similarity_rows(config),
        *_tier_rows(config),
        *_detail_rows(config),
    ]
    return rows + _relatives(config.relative, "match_")


def _floats(told: Iterable[tuple[str, str, str]]) -> list[Row]:
    return [(name, "Float32", description, source) for name, description, source in told]


def _relatives(names: Iterable[str], prefix: str) -> list[Row]:
    return [row for name in names if name.startswith(prefix) for row in _relative_rows(name)]


def unit_and_range(name: str, decayed: float | None) -> tuple[str, float | None, float | None]:
    """Return unit, least and greatest value of a feature that a history makes.

    Args:
        name: of the feature.
        decayed: what `co_decayed` cannot reach; None: there is no such bound.
    """
    if name.endswith("_rank"):
        return "place", 1, None
    if name.endswith("_gap"):
        bound = _widest_gap(name, decayed)
        return "", None if bound is None else -bound, bound
    if name.startswith("swing_"):
        return "", 0, None
    if name == "co_decayed":
        return "", 0, decayed
    if name.startswith("code_prefix"):
        return "codes", 0, MAX_CODE_LEVELS
    if name.endswith("_h"):
        return "h", 0, None
    if name.startswith("match_over"):
        return "cosine", -2, 2
    if name == "match_std" or name.startswith("outcome"):
        return "", 0, 1
    if name.endswith("_share") or name.startswith("co_"):
        return "", 0, 1
    if name.endswith("_size"):
        return "items", 0, None
    if name.endswith("_log1p"):
        return "log items", 0, None
    return ("", None, None) if name in ("is_repeat", "has_vector") else ("cosine", -1, 1)


def _widest_gap(name: str, decayed: float | None) -> float | None:
    if name.startswith("swing_"):
        return None
    if name.startswith("co_"):
        return decayed if name.startswith("co_decayed") else 1
    return MAX_CODE_LEVELS if name.startswith("code_") else 2


def _relative_rows(name: str) -> list[Row]:
    return [
        (f"{name}_rank", "UInt32", f"rank of {name} in its request, 1 = best", "rank"),
        (f"{name}_gap", "Float32", f"{name} above the request's", "x - median x"),
    ]


def _similarity_rows(config: MatchConfig) -> list[Row]:
    formulas = {
        "match_max": ("nearest history item", "max s"),
        "match_mean": ("mean over the history", "mean s"),
        "match_last": ("newest history item", "s of the newest"),
        "match_last5_max": ("nearest of the five newest", "max s of the five newest"),
    }
    formulas |= {
        f"match_top{k}_mean": (f"mean of the {k} nearest", f"mean of the {k} largest s")
        for k in config.top_k
    }
    formulas |= {
        f"match_profile_{days}d": (
            f"profile with a half-life of {days} days",
            f"c . normalise(sum 2^(-a / {days} d) h)",
        )
        for days in config.half_lives_days
    }
    return [
        (name, "Float32", f"cosine with the history: {formulas[name][0]}", formulas[name][1])
        for name in config.similarity_names()
    ]


def _tier_rows(config: MatchConfig) -> list[Row]:
    """SimTier (arXiv 2407.19467): the histogram of s, between the edges of the centring."""
    shares: list[Row] = [
        (f"match_tier{t}_share", "Float32", f"share of the history in tier {t}", "count / n")
        for t in range(config.num_tiers)
    ]
    counts: list[Row] = [
        (f"match_tier{t}_log1p", "Float32", f"history items in tier {t}", "log(1 + count)")
        for t in range(config.num_tiers)
    ]
    return shares + counts


def _detail_rows(config: MatchConfig) -> list[Row]:
    told = {
        "match_profile": ("profile in which all weigh the same", "c . normalise(sum h)"),
        "match_std": ("spread of the cosines", "sqrt(mean (s - mean s)^2)"),
        "match_median": ("median cosine", "median s"),
        "match_last5_mean": ("mean cosine of the five newest", "mean s of the five newest"),
        "match_max_age_h": ("age of the nearest item, of equal ones the newest", "a of max s"),
        "match_near_share": ("share of the history that is near", "count of s >= near / n"),
        "match_near_age_h": ("age of the newest item that is near", "min a of s >= near"),
        "history_newest_h": ("age of the newest item compared", "min a"),
        "history_span_h": ("from the oldest to the newest item compared", "max a - min a"),
        "match_category_size": (
            "items compared that were of the candidate's category",
            "count of same category",
        ),
        "match_category_max": ("nearest of these", "max s of same category"),
        "match_category_mean": ("mean of these", "mean s of same category"),
        "match_candidates_mean": (
            "mean cosine with the other candidates of the request",
            "mean c . other candidate",
        ),
    }
    for n in range(2, config.num_nearest + 1):
        told[f"match_nearest{n}"] = (f"cosine of the nearest item but {n - 1}", f"{n}. largest s")
    return [(name, _dtype(name), *told[name]) for name in config.detail_names()]


def cluster_rows() -> list[Row]:
    """Return the rows of the group "clusters"."""
    told = (
        (
            "match_cluster_share",
            "share of the items compared that are in the candidate's cluster",
            "count of same cluster / n",
        ),
        ("match_cluster_age_h", "age of the newest of these", "min a of same cluster"),
    )
    return _floats(told)


def feedback_rows(config: MatchConfig) -> list[Row]:
    """Return the rows of the group "feedback"."""
    hours, days = config.session_h, config.outcome_half_life_days
    weight = f"exp(s / {config.temperature})"
    told = {
        "strong_size": ("items compared that were liked strongly", "count of strong"),
        "strong_max": ("nearest of these", "max s of strong"),
        "strong_top3_mean": ("mean of the 3 nearest of these", "mean of the 3 largest s of strong"),
        "strong_last": ("newest of these", "s of the newest strong"),
        "strong_profile": ("profile of these", "c . normalise(sum h of strong)"),
        "session_size": (f"items compared that were liked within {hours:g} h", f"a <= {hours:g} h"),
        "session_max": ("nearest of these", "max s of session"),
        "session_mean": ("mean of these", "mean s of session"),
        "skip_size": (f"newest items skipped, {config.skip_slots} at most", "n of skipped"),
        "skip_max": ("nearest of these", "max s of skipped"),
        "skip_top3_mean": ("mean of the 3 nearest of these", "mean of the 3 largest s of skipped"),
        "skip_last": ("newest of these", "s of the newest skipped"),
        "skip_profile": ("profile of these", "c . normalise(sum h of skipped)"),
        "match_over_skip_max": ("nearest liked above nearest skipped", "match_max - skip_max"),
        "match_over_skip_top3": (
            "the same of the 3 nearest",
            "match_top3_mean - skip_top3_mean",
        ),
        "outcome_near": (
            "share of liked ones among what was liked or skipped, near ones weighing more",
            f"sum w of liked / sum w, w = {weight}",
        ),
        "outcome_recent": (
            "the same, old ones weighing less",
            f"sum w of liked / sum w, w = {weight} * 2^(-a / {days:g} d)",
        ),
    }
    return [(name, _dtype(name), *told[name]) for name in config.feedback_names()]


def _dtype(name: str) -> FeatureType:
    return "UInt32" if name in SIZES else "Float32"
