"""Candidates in order, group by group: what every ranking metric reads.

A group is a request, a query or a user. Made of scores (`Rankings.of`), of ids that stand in order
already (`of_lists`), or of nothing but the place of the one right answer (`of_places`).

Legend: N = candidates, G = groups, J = judged items.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True, slots=True, eq=False)
class Rankings:
    """The candidates of many groups, best first, and what there was to find in each."""

    groups: pl.Series
    """[G] ids, ascending."""

    group_N: np.ndarray
    """Index of each candidate's group; ascending."""

    rank_N: np.ndarray
    """Place in its group, from 1."""

    score_N: np.ndarray
    relevance_N: np.ndarray
    """float64; NaN for a candidate that nobody judged, which every gain counts as 0."""

    judged_group_J: np.ndarray
    """Index of the group of each judged item, retrieved or not; ascending."""

    judged_rank_J: np.ndarray
    """Place in the ideal order of its group, from 1."""

    judged_relevance_J: np.ndarray

    @classmethod
    def of(
        cls,
        candidates: pl.DataFrame,
        judgements: pl.DataFrame | None = None,
        *,
        group: str = "request_id",
    ) -> "Rankings":
        """Order candidates by score; equal scores by item id, descending, as trec_eval does.

        The order that candidates arrive in therefore never shows in a metric.

        Args:
            candidates: `group`, item_id, score and, without `judgements`, relevance (null: not
                judged). Any order.
            judgements: `group`, item_id, relevance of all that was judged, retrieved or not. A
                group that is only here was answered with nothing and scores 0; one that is only
                in `candidates` cannot be scored and is left out.
            group: column that tells the groups apart.

        Raises:
            ValueError: a score is missing or not a number, so there is no order.
        """
        broken = candidates.filter(pl.col("score").is_null() | pl.col("score").is_nan())
        if len(broken):
            raise ValueError(
                f"every candidate must have a score, got none for {len(broken)}, first "
                f"{broken['item_id'][0]!r} of {group} {broken[group][0]!r}"
            )
        if judgements is None:
            judgements = candidates.select(group, "item_id", "relevance").drop_nulls("relevance")
            groups = candidates.select(group).unique().sort(group)
        else:
            groups = judgements.select(group).unique().sort(group)
            candidates = candidates.drop("relevance", strict=False).join(
                judgements, on=[group, "item_id"], how="left", validate="m:1"
            )
        index = groups.with_row_index("group_index")
        found = candidates.join(index, on=group).sort(
            "group_index", "score", "item_id", descending=[False, True, True]
        )
        ideal = judgements.join(index, on=group).sort(
            "group_index", "relevance", descending=[False, True]
        )
        group_N = found["group_index"].to_numpy()
        judged_group_J = ideal["group_index"].to_numpy()
        return cls(
            groups=groups[group],
            group_N=group_N,
            rank_N=_places(group_N),
            score_N=found["score"].cast(pl.Float64).to_numpy(),
            relevance_N=found["relevance"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
            judged_group_J=judged_group_J,
            judged_rank_J=_places(judged_group_J),
            judged_relevance_J=ideal["relevance"].cast(pl.Float64).to_numpy(),
        )

    @classmethod
    def of_lists(
        cls, ranked: Sequence[Sequence[str]], relevant: Sequence[Collection[str]]
    ) -> "Rankings":
        """Take over lists of ids that stand in order, such as `rank_all` gives.

        Args:
            ranked: for each query, unique ids, best first; as many as the deepest metric looks at,
                where they exist.
            relevant: for each query, the ids that should be found, at least one; each is worth 1,
                and every other id nothing.

        Raises:
            ValueError: there are no queries, the two differ in number, or a query has nothing
                relevant, for which no metric is defined.
        """
        if not ranked or len(ranked) != len(relevant):
            raise ValueError(
                "ranked and relevant must have one entry per query, at least one, "
                f"got {len(ranked)} and {len(relevant)}"
            )
        if num_empty := sum(not ids for ids in relevant):
            raise ValueError(f"every query must have a relevant item, got {num_empty} without one")
        group_N = np.repeat(np.arange(len(ranked)), [len(ids) for ids in ranked])
        judged_group_J = np.repeat(np.arange(len(ranked)), [len(ids) for ids in relevant])
        rank_N = _places(group_N)
        is_relevant = [i in right for ids, right in zip(ranked, relevant, strict=True) for i in ids]
        return cls(
            groups=pl.Series(np.arange(len(ranked))),
            group_N=group_N,
            rank_N=rank_N,
            score_N=-rank_N.astype(np.float64),
            relevance_N=np.array(is_relevant, dtype=np.float64),
            judged_group_J=judged_group_J,
            judged_rank_J=_places(judged_group_J),
            judged_relevance_J=np.ones(len(judged_group_J)),
        )

    @classmethod
    def of_places(cls, rank_G: np.ndarray) -> "Rankings":
        """Stand for queries with one right answer each, of which nothing but its place is kept.

        Args:
            rank_G: place of the answer, from 1; infinity where it did not come, and half a place
                where it ties. AUC is not defined on these, for the wrong answers are not there.
        """
        one_G = np.ones(len(rank_G))
        return cls(
            groups=pl.Series(np.arange(len(rank_G))),
            group_N=np.arange(len(rank_G)),
            rank_N=rank_G,
            score_N=-rank_G.astype(np.float64),
            relevance_N=one_G,
            judged_group_J=np.arange(len(rank_G)),
            judged_rank_J=one_G.astype(np.int64),
            judged_relevance_J=one_G,
        )

    def sum(self, value_N: np.ndarray) -> np.ndarray:
        """Return [G] the sum over each group's candidates; 0 for a group without any."""
        return np.bincount(self.group_N, weights=value_N, minlength=len(self.groups))

    def sum_judged(self, value_J: np.ndarray) -> np.ndarray:
        """Return [G] the sum over each group's judged items."""
        return np.bincount(self.judged_group_J, weights=value_J, minlength=len(self.groups))

    def running(self, value_N: np.ndarray) -> np.ndarray:
        """Return [N] the sum of `value_N` from the group's best candidate to this one."""
        total_N = np.cumsum(value_N)
        first_N = np.searchsorted(self.group_N, self.group_N)
        return total_N - np.concatenate([[0.0], total_N])[first_N]


def _places(group_N: np.ndarray) -> np.ndarray:
    """Return [N] 1, 2, 3... anew for each run of equal group indices."""
    starts = np.flatnonzero(np.diff(group_N, prepend=-1))
    lengths = np.diff(starts, append=len(group_N))
    return np.arange(len(group_N)) - np.repeat(starts, lengths) + 1
