"""Leave-last-out: each user's newest liked item is to be found among all items they have not seen.

The protocol of logs without pages (MovieLens). Everything that `train` events hold is known to the
ranker; the held-out event is the one relevant candidate of its user's request.
"""

import numpy as np
import polars as pl

from features.histories import HistoryConfig, positive_events


def leave_last_out(
    events: pl.DataFrame, *, candidate_items: pl.Series, history: HistoryConfig | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split into events to learn from and each user's last liked candidate item.

    Args:
        events: columns of `catalog.lake.tables.EVENTS`, any order.
        candidate_items: ids that may be recommended. Events on others are history, but are never
            held out.
        history: what is liked; the default when None. A skip, a poor rating or an impression is
            never the right answer.

    Returns:
        `events` without every user's held-out item, nor anything not before it; and user_id,
        item_id, ts of the held-out events, by user. Last means largest (ts, item_id).
    """
    held_out = (
        positive_events(events, config=history or HistoryConfig())
        .filter(pl.col("item_id").is_in(candidate_items.implode()))
        .sort("user_id", "ts", "item_id")
        .group_by("user_id", maintain_order=True)
        .agg(pl.col("item_id", "ts").last())
    )
    train = (
        events.join(
            held_out.rename({"item_id": "held_item", "ts": "held_ts"}),
            on="user_id",
            how="left",
            maintain_order="left",
        )
        .filter(
            pl.col("held_item").is_null()
            | ((pl.col("ts") <= pl.col("held_ts")) & (pl.col("item_id") != pl.col("held_item")))
        )
        .drop("held_item", "held_ts")
    )
    return train, held_out


def training_requests(
    train: pl.DataFrame,
    *,
    candidate_items: pl.Series,
    num_positives: int = 5,
    num_negatives: int = 50,
    history: HistoryConfig | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Make requests to train on: each user's newest positives, each among sampled unseen items.

    A negative is an item that the user did not act on in `train`; to be shown is no act. The
    held-out item is not spared: to leave it out would tell the ranker which item never was a
    negative.

    Args:
        train: as `leave_last_out` gives it.
        candidate_items: ids to sample from and whose positives are used.
        num_positives: requests per user, at most; fewer where a user has fewer.
        num_negatives: items per request beside the positive; fewer where all are seen.
        history: what is positive; the default when None.
        seed: of the sample.

    Returns:
        request_id ("user/number"), user_id, item_id, ts of the positive, relevance i32 (1 once
        per request, else 0); by user, ts, then the positive first.
    """
    candidates = candidate_items.unique().sort()
    positives = (
        positive_events(train, config=history or HistoryConfig())
        .filter(pl.col("item_id").is_in(candidates.implode()))
        .sort("user_id", "ts", "item_id")
        .group_by("user_id", maintain_order=True)
        .tail(num_positives)
        .select("user_id", "item_id", "ts")
        .with_columns(number=pl.int_range(pl.len()).over("user_id"))
        .with_columns(request_id=pl.format("{}/{}", "user_id", "number"))
    )
    negatives = _sampled_unseen(positives, train, candidates, num_negatives, seed)
    columns = ["request_id", "user_id", "item_id", "ts"]
    rows = pl.concat(
        [
            positives.select(*columns, "number", relevance=pl.lit(1, pl.Int32)),
            negatives.select(*columns, "number", relevance=pl.lit(0, pl.Int32)),
        ]
    )
    return rows.sort(
        "user_id", "number", "relevance", "item_id", descending=[False, False, True, False]
    ).drop("number")


def held_out_requests(
    held_out: pl.DataFrame, train: pl.DataFrame, *, candidate_items: pl.Series
) -> pl.DataFrame:
    """Make one request per held-out event: every candidate item that its user has not acted on.

    Thousands of rows per user, so pass some users of `held_out` at a time.

    Returns:
        request_id (the user's id), user_id, item_id, ts, relevance i32; by user, then item.
    """
    candidates = pl.DataFrame({"item_id": candidate_items.unique().sort()})
    users = held_out.select("user_id", "ts", held_item="item_id")
    return (
        users.join(candidates, how="cross")
        .join(_acted_on(train), on=["user_id", "item_id"], how="anti")
        .select(
            request_id="user_id",
            user_id="user_id",
            item_id="item_id",
            ts="ts",
            relevance=(pl.col("item_id") == pl.col("held_item")).cast(pl.Int32),
        )
        .sort("user_id", "item_id")
    )


def _acted_on(events: pl.DataFrame) -> pl.DataFrame:
    """Return the different user_id, item_id of all events but impressions."""
    acts = events.filter(pl.col("action") != "impression")
    return acts.select("user_id", "item_id").unique()


def _sampled_unseen(
    positives: pl.DataFrame,
    train: pl.DataFrame,
    candidates: pl.Series,
    num_negatives: int,
    seed: int,
) -> pl.DataFrame:
    """Draw `num_negatives` rows per positive, without repeats, in columns of `positives`."""
    rng = np.random.default_rng(seed)
    row_of = pl.DataFrame({"item_id": candidates}).with_row_index("row")
    seen = _acted_on(train).join(row_of, on="item_id").group_by("user_id").agg("row")
    seen_of = dict(zip(seen["user_id"], seen["row"], strict=True))
    everything = np.arange(len(candidates))
    drawn = []
    for user in positives["user_id"]:
        unseen = np.setdiff1d(everything, seen_of[user].to_numpy(), assume_unique=True)
        drawn.append(rng.choice(unseen, min(num_negatives, len(unseen)), replace=False))
    repeated = positives[np.repeat(np.arange(len(drawn)), [len(rows) for rows in drawn])]
    picked = np.concatenate(drawn) if drawn else np.empty(0, dtype=np.int64)
    return repeated.with_columns(item_id=candidates.gather(picked))
