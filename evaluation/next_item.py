"""Whether a user's profile finds the item that they liked next, without any ranker.

It asks of recall what `evaluation.leave_last_out` asks of a ranker, with the same meaning of
*liked*, `features.histories.positive_events`.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from evaluation.exact_ranking import Catalogue, rank_all
from evaluation.leave_last_out import leave_last_out
from evaluation.metrics import means, measure
from evaluation.rankings import Rankings
from features.histories import HistoryConfig, histories, positive_events
from features.profile import ProfileConfig, profile_vector


def evaluate_next_item(
    events: pl.DataFrame,
    catalogue: Catalogue,
    *,
    config: ProfileConfig | None = None,
    ks: Sequence[int] = (1, 10, 100),
    centred: bool = False,
) -> dict[str, float] | None:
    """Hold out the item that each user liked last, and look for it with what they liked before.

    The profile is made as recall makes it, and what shaped it, and all else that the user liked
    before, is left out of the ranking. A user is passed over who liked nothing before, or nothing
    that has a vector. Items without one take no place in the profile.

    Args:
        events: columns of `catalog.lake.tables.EVENTS`, any order.
        catalogue: the items that can be found.
        config: of the profile; the defaults when None.
        ks: depths, each >= 1.
        centred: whether the mean of the catalogue's vectors is taken off the profile.

    Returns:
        num_items, num_users (those that were asked for), and `hit@k`, `recall@k` and `ndcg@k`,
        means over the users; None when no user is left.
    """
    config = config or ProfileConfig()
    liked = HistoryConfig(max_items=config.max_history)
    known = pl.Series("item_id", catalogue.item_ids, dtype=pl.String)
    train, held_out = leave_last_out(positive_events(events, config=liked), candidate_items=known)
    requests = held_out.select("user_id", "ts", request="user_id")
    findable = train.filter(pl.col("item_id").is_in(known.implode()))
    before = histories(requests, findable, config=liked)["items"]
    seen_of = dict(train.group_by("user_id").agg("item_id").iter_rows())
    row_of = {item_id: row for row, item_id in enumerate(catalogue.item_ids)}
    profiles, seen, wanted = [], [], []
    centre_D = catalogue.vectors_ND.mean(axis=0, dtype=np.float64) if centred else None
    for user_id, item_id, history in zip(
        held_out["user_id"], held_out["item_id"], before, strict=True
    ):
        rows = [row_of[item] for item in history]
        if rows:
            vectors_HD = catalogue.vectors_ND[rows]
            profiles.append(
                profile_vector(vectors_HD, half_life=config.half_life, centre_D=centre_D)
            )
            seen.append(seen_of[user_id])
            wanted.append({item_id})
    if not profiles:
        return None
    ranked = rank_all(
        np.stack(profiles), catalogue.vectors_ND, catalogue.item_ids, top_k=max(ks), exclude=seen
    )
    names = [f"{metric}@{k}" for metric in ("hit", "recall", "ndcg") for k in ks]
    return {
        "num_items": len(catalogue.item_ids),
        "num_users": len(wanted),
        **means(measure(Rankings.of_lists(ranked, wanted), names)),
    }
