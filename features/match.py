"""Match features: how close a candidate is to what its user liked before.

The same function makes them offline and in a service, and a row's features do not hang on which
other requests come with it. The arithmetic is in `features.similarity` and
`features.similarity_sums`.

Legend: N = impressions, P = items of all histories.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from features import similarity_sums as sums
from features.centred_embeddings import CentredEmbeddings
from features.centring import Centring
from features.grouped_requests import Groups
from features.histories import Pasts
from features.history_profiles import Profiles
from features.history_sizes import history_sizes
from features.match_config import SIZES, MatchConfig
from features.relative import relative_columns
from features.similarity import Compared, in_blocks
from features.similarity_sums import Cosines


def match_features(
    impressions: pl.DataFrame,
    histories: pl.DataFrame,
    centred: CentredEmbeddings,
    *,
    compared: pl.DataFrame | None = None,
    config: MatchConfig | None = None,
) -> pl.DataFrame:
    """Compute how each candidate relates to the history of its request.

    The candidate and its exact duplicates, items of the same vector, are left out of the history
    before it is cut to `slots` (their cosine of 1 would drown the rest); `is_repeat` tells that
    the candidate itself was there. A history item without a vector counts in `history_size` and
    nowhere else.

    Args:
        impressions: request, item_id; one row per candidate, any order.
        histories: request, items, ages_h, as `features.histories.histories` gives them; every
            request of `impressions` is there.
        centred: vectors of one model version, and the edges of its tiers.
        compared: the same of items that have a vector alone, so that none without takes a slot, in
            the same order of requests; `histories` when None.
        config: which features; the defaults when None.

    Returns:
        One row per impression, same order, with the "match" columns of `features.schema`. A
        similarity is null, never 0, when the candidate has no vector or nothing to compare with.
    """
    config = config or MatchConfig()
    compared = histories if compared is None else compared
    request_N = _request_rows(impressions, histories)
    asked = Asked.of(impressions["item_id"], request_N)
    past, newest = Pasts.of(histories), Pasts.of(compared)
    columns = match_columns(asked, past, newest, newest.nothing(), centred, config=config)
    return pl.DataFrame(columns)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Candidates."""

    item_ids: pl.Series
    """[N], of which a vector is looked up."""

    request_N: np.ndarray
    """Of each its request, a row of the histories."""

    categories: pl.Series
    """[N] at the request; null: unknown."""

    @classmethod
    def of(cls, item_ids: pl.Series, request_N: np.ndarray) -> "Asked":
        """Return candidates of whose categories nothing is known."""
        unknown = pl.Series([None], dtype=pl.String).new_from_index(0, len(item_ids))
        return cls(item_ids, request_N, unknown)


def match_columns(
    asked: Asked,
    past: Pasts,
    compared: Pasts,
    skipped: Pasts,
    centred: CentredEmbeddings,
    *,
    config: MatchConfig,
) -> dict[str, pl.Series]:
    """Return the columns of `match_features`, of candidates and histories that lie in columns.

    Args:
        asked: the candidates.
        past: what was liked.
        compared: the same of items that have a vector, in the same order of requests.
        skipped: what was skipped, of items that have a vector, in the same order.
        centred: as of `match_features`.
        config: which features.
    """
    _check_edges(centred, config)
    row_N, row_P = centred.rows_of(asked.item_ids), centred.rows_of(past.item_ids)
    compared_P = row_P if compared is past else centred.rows_of(compared.item_ids)
    names = config.value_names()
    if len(centred.item_ids):
        kinds = [
            grouped(
                *(asked, row_N, compared, compared_P, centred, config.slots),
                with_clusters=config.clusters,
            )
        ]
        if config.feedback:
            skipped_P = centred.rows_of(skipped.item_ids)
            kinds.append(grouped(asked, row_N, skipped, skipped_P, centred, config.skip_slots))
        values = similarity_values(kinds, centred, config)
    else:
        missing = [0 if name in SIZES else np.nan for name in names]
        values = np.tile(np.array(missing, dtype=np.float32), (len(row_N), 1))
    column_of = {name: values[:, number] for number, name in enumerate(names)}
    size_N, is_repeat_N = history_sizes(
        asked.item_ids, asked.request_N, row_N, past, row_P, centred
    )
    return {
        "history_size": pl.Series(np.minimum(size_N, config.slots), dtype=pl.UInt32),
        "is_repeat": pl.Series(is_repeat_N),
        "has_vector": pl.Series(row_N >= 0),
        **{name: _column(name, column_of[name]) for name in names},
        **relative_columns({name: column_of[name] for name in config.relative}, asked.request_N),
    }


def _column(name: str, values_N: np.ndarray) -> pl.Series:
    if name in SIZES:
        return pl.Series(values_N).cast(pl.UInt32)
    return pl.Series(values_N, nan_to_null=True)


def similarity_values(
    kinds: Sequence[Groups], centred: CentredEmbeddings, config: MatchConfig
) -> np.ndarray:
    """Return [N, F] float32 the values of `MatchConfig.value_names`, NaN for null.

    Args:
        kinds: what was liked; with feedback also what was skipped.
        centred: as of `match_features`.
        config: which features.
    """
    centring = centred.centring
    profiles = [config.liked_profiles]
    if config.feedback:
        profiles.append(Profiles(half_lives_h=(math.inf,), with_details=True))
    return in_blocks(
        kinds,
        centred,
        profiles,
        lambda block: _summed_up(block, centring, config),
        num_columns=len(config.value_names()),
    )


def _near(edges: Sequence[float]) -> float:
    """Return the cosine from which on items are near: the middle edge of the tiers.

    Half of the pairs that the edges were measured on belong together, so at their median precision
    and recall of telling them are the same. (SAIL-Embedding takes the threshold with the best F1.)
    """
    return edges[len(edges) // 2] if edges else 0.0


def grouped(
    asked: Asked,
    row_N: np.ndarray,
    past: Pasts,
    row_P: np.ndarray,
    centred: CentredEmbeddings,
    slots: int,
    *,
    with_clusters: bool = False,
) -> Groups:
    """Return candidates and histories by request; see `Groups.of`."""
    category_N, category_P = _category_numbers(asked.categories, past.categories)
    return Groups.of(
        row_N,
        asked.request_N,
        past,
        row_P,
        centred,
        slots=slots,
        category_N=category_N,
        category_P=category_P,
        cluster_V=centred.cluster_N if with_clusters else None,
    )


def _category_numbers(asked: pl.Series, past: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return a number for each category, asked and past; -1: none."""
    if asked.null_count() == len(asked) or past.null_count() == len(past):
        return np.full(len(asked), -1, np.int32), np.full(len(past), -1, np.int32)
    together = pl.concat([asked, past]).cast(pl.Categorical).to_physical()
    numbers = together.cast(pl.Int32).fill_null(-1).to_numpy()
    return numbers[: len(asked)], numbers[len(asked) :]


def _summed_up(kinds: Sequence[Compared], centring: Centring, config: MatchConfig) -> np.ndarray:
    """Return the columns of a block, in the order of their names in `config`."""
    liked, cosines = kinds[0], Cosines.of(kinds[0].cosine_SB)
    num_profiles = len(config.half_lives_days)
    best_KB = cosines.largest(max(*config.top_k, config.num_nearest if config.details else 1, 3))
    mean_B, (last5_max_B, last5_mean_B) = cosines.mean(), cosines.newest(5)
    rows = [
        sums.told(best_KB[0]),
        mean_B,
        *(sums.mean_of(best_KB, k) for k in config.top_k),
        liked.cosine_SB[0],
        last5_max_B,
        *liked.profile_TB[:num_profiles],
        *sums.tiers(liked.cosine_SB, centring.edges, config.num_tiers),
    ]
    if config.details:
        rows += [sums.told(best_B) for best_B in best_KB[1 : config.num_nearest]]
        rows += [liked.profile_TB[num_profiles], cosines.std(mean_B), cosines.median()]
        rows += [last5_mean_B, *_details(liked, cosines, best_KB[0], _near(centring.edges))]
    if config.feedback:
        rows += _feedback(liked, cosines, best_KB, kinds[1], config)
    if config.clusters:
        rows += _clusters(liked, cosines, has_clusters=bool(centring.clusters))
    return np.stack(rows, dtype=np.float32, casting="same_kind")


def _details(liked: Compared, cosines: Cosines, max_B: np.ndarray, near: float) -> list[np.ndarray]:
    is_near_SB = liked.cosine_SB >= np.float32(near)
    in_category = cosines.some(liked.is_category_SB)
    near_B = sums.count(is_near_SB) / np.maximum(cosines.num_B, 1)
    return [
        sums.newest_age(liked.age_SB, liked.cosine_SB >= max_B - sums.TIE),
        np.where(cosines.is_any_B, near_B, np.nan),
        sums.newest_age(liked.age_SB, is_near_SB),
        np.where(np.isfinite(liked.age_SB[0]), liked.age_SB[0], np.nan),
        sums.span(liked.age_SB),
        sums.count(liked.is_category_SB),
        sums.told(in_category.filled_SB.max(axis=0)),
        in_category.mean(),
        liked.mean_B,
    ]


def _clusters(liked: Compared, cosines: Cosines, *, has_clusters: bool) -> list[np.ndarray]:
    if not has_clusters:
        return [np.full_like(liked.mean_B, np.nan)] * 2
    share_B = liked.in_cluster_B / np.maximum(cosines.num_B, 1)
    return [np.where(cosines.is_any_B, share_B, np.nan), liked.cluster_age_B]


def _feedback(
    liked: Compared,
    cosines: Cosines,
    best_KB: np.ndarray,
    skipped: Compared,
    config: MatchConfig,
) -> list[np.ndarray]:
    is_session_SB = liked.age_SB <= np.float32(config.session_h)
    is_session_SB = is_session_SB[: max(int(is_session_SB.any(axis=1).sum()), 1)]  # the newest
    strong, session = cosines.some(liked.is_strong_SB), cosines.some(is_session_SB)
    skip = Cosines.of(skipped.cosine_SB)
    strong_KB, skip_KB = strong.largest(3), skip.largest(3)
    skip_max_B, skip_top3_B = sums.told(skip_KB[0]), sums.mean_of(skip_KB, 3)
    pairs = (liked.cosine_SB, liked.age_SB), (skipped.cosine_SB, skipped.age_SB)
    return [
        sums.count(liked.is_strong_SB),
        sums.told(strong_KB[0]),
        sums.mean_of(strong_KB, 3),
        strong.first(),
        liked.profile_TB[-1],
        sums.count(is_session_SB),
        sums.told(session.filled_SB.max(axis=0)),
        session.mean(),
        sums.count(np.isfinite(skipped.age_SB)),
        skip_max_B,
        skip_top3_B,
        skipped.cosine_SB[0],
        skipped.profile_TB[0],
        sums.told(best_KB[0]) - skip_max_B,
        sums.mean_of(best_KB, 3) - skip_top3_B,
        *sums.outcomes(
            *pairs,
            temperature=config.temperature,
            half_life_h=24 * config.outcome_half_life_days,
        ),
    ]


def _request_rows(impressions: pl.DataFrame, histories: pl.DataFrame) -> np.ndarray:
    """Return [N] row in `histories` of each impression's request.

    Raises:
        ValueError: an impression's request has none.
    """
    index = histories.select("request").with_row_index("row")
    found = impressions.select("request").join(
        index, on="request", how="left", maintain_order="left", validate="m:1"
    )
    if found["row"].null_count():
        lost = found.filter(pl.col("row").is_null())["request"][0]
        raise ValueError(
            f"every impression's request must have a history, got none for {lost!r}; "
            "build the histories from the same impressions"
        )
    return found["row"].cast(pl.Int64).to_numpy()


def _check_edges(centred: CentredEmbeddings, config: MatchConfig) -> None:
    if config.num_tiers and len(centred.centring.edges) > config.num_tiers - 1:
        raise ValueError(
            f"embeddings for {config.num_tiers} tiers must have at most {config.num_tiers - 1} "
            f"edges, got {len(centred.centring.edges)}; centre them with the same num_tiers"
        )
