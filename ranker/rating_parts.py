"""What a ranker learns from of a log of ratings that is larger than memory: some users at a time.

The requests are those of `ranker.rating_log.RatingLog.training`, as of the request. What a user is
asked, and what they have acted on, is of their own events; of all others' it is known what was
liked together, and what was liked when.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from catalog.lake.tables import EVENTS
from evaluation.leave_last_out import leave_last_out, newest_liked
from features.cooccurrence import Cooccurrence, cooccurrence
from features.daily_sums import days_of
from features.histories import HistoryConfig, is_positive
from features.log import Log
from features.request_store import EVENT_COLUMNS, RequestStore
from features.user_parts import ROWS_AT_ONCE, by_users
from ranker.rating_log import NUM_ANSWERS, telling
from ranker.stage_one import Catalogue, StageOne

USERS_AT_ONCE = 200
"""Whose candidates are made at a time: some 300 for each of their answers."""


def add_rating_requests(
    store: RequestStore,
    events: pl.LazyFrame,
    items: pl.DataFrame,
    vectors: pl.DataFrame,
    folder: Path,
    *,
    with_swing: bool,
    rows_at_once: int = ROWS_AT_ONCE,
    users_at_once: int = USERS_AT_ONCE,
) -> Cooccurrence:
    """Put the requests of a log of ratings into a store, and return what was liked together.

    Args:
        store: holds nothing yet.
        events: of a table that does not change meanwhile.
        items: as of `features.log.Log`.
        vectors: as of `Log`.
        folder: where files may lie meanwhile.
        with_swing: as of `features.cooccurrence.cooccurrence`.
        rows_at_once: as of `features.user_parts.by_users`.
        users_at_once: whose candidates are made at a time.
    """
    history = HistoryConfig()
    candidates = Log(EVENTS.empty(), items, vectors).candidates
    with tempfile.TemporaryDirectory(dir=folder) as name:
        paths: list[Path] = []
        days = []
        for some in _some_users(events, Path(name), rows_at_once, users_at_once):
            known, _ = leave_last_out(some, candidate_items=candidates, history=history)
            paths.append(Path(name) / f"known-{len(paths)}.parquet")
            known.write_parquet(paths[-1])
            days.append(_asked(known, candidates, history)["ts"])
        likes = pl.scan_parquet(paths).filter(is_positive(history)).collect()
        counts = cooccurrence(likes, with_swing=with_swing)
        stage_one = StageOne(
            Catalogue.of(candidates, items, vectors),
            counts,
            likes.select("item_id", "ts"),
            days_of(pl.concat(days)),
            history=history,
        )
        del likes
        for path in paths:
            known = pl.read_parquet(path)
            asked = _asked(known, candidates, history)
            store.add(telling(stage_one.candidates(asked, known), asked), known)
    return counts


def _some_users(
    events: pl.LazyFrame, folder: Path, rows_at_once: int, users_at_once: int
) -> Iterator[pl.DataFrame]:
    for part in by_users(events.select(EVENT_COLUMNS), folder, rows_at_once=rows_at_once):
        number = (pl.col("user_id").rank("dense") - 1) // users_at_once
        numbered = part.with_columns(number=number)
        yield from numbered.partition_by("number", include_key=False) or [part]


def _asked(known: pl.DataFrame, candidates: pl.Series, history: HistoryConfig) -> pl.DataFrame:
    return newest_liked(known, candidate_items=candidates, limit=NUM_ANSWERS, history=history)
