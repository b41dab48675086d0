"""What recommending and ranking 500 items cost over the recall and the prediction in it.

    python -m bench.recommend [--users 2000] [--items 20000] [--asked 60]

A lake with events, items and vectors is made in a temporary folder, a ranker is trained on some of
its pages, and users are recommended 500 items each by what `ponder serve` opens: histories and
exact vectors in memory, and the log that features are made from. The rival is what cannot be left
out: recall, and the prediction of features that lie ready. `rank` is the same of 500 given items,
which no recall has to find, so its rival is the prediction alone. All is in this process. The last
line is JSON: milliseconds (p50) of ours and of the rival by the clock, and by the processor's time,
which other work does not lengthen much; and each stage.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from catalog.lake.item_lookup import ItemLookup
from catalog.lake.item_versions import versions_of
from catalog.lake.lake import Lake
from catalog.lake.tables import EMBEDDINGS, EVENTS, ITEM_VERSIONS, ITEMS, TIME
from features.history_store import HistoryStore
from features.log import Log
from features.table import build_features
from ponder.wiring.counts import DailyCounts
from ponder.wiring.live_log import LiveLog
from ranker.config import RankerConfig
from ranker.model import Ranker
from ranker.training import train
from recall.exact import ExactIndex
from recall.living_items import LivingItems
from recall.search import Recall
from recall.stages import Stages
from serving.rank import Asker, Ranking
from serving.recommend import Recommendations, Recommender

DIM, TOP_K, LIKED, SHOWN, PER_PAGE = 256, 500, 60, 100, 20
VERSION = "v"
END = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
GOAL = 2.0


def write_lake(lake: Lake, *, num_users: int, num_items: int, seed: int) -> None:
    """Write items in 50 kinds, their vectors, and what users of a few kinds saw and liked."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"i{n:06d}" for n in range(num_items)])
    kind_N = rng.integers(50, size=num_items)
    centres = rng.normal(size=(50, DIM))
    vectors_ND = (centres[kind_N] + rng.normal(size=(num_items, DIM))).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    created = END - timedelta(days=90)
    items = pl.DataFrame(
        {
            "item_id": ids,
            "title": ids,
            "category": [f"c{kind % 10}" for kind in kind_N],
            "attributes": [json.dumps({"price": int(n)}) for n in rng.integers(1, 99, num_items)],
            "created_at": created,
            "updated_at": created,
            "deleted": False,
            "content_hash": ids,
        }
    )
    items = _as_table(items, ITEMS).with_columns(pl.lit([], pl.List(pl.String)).alias("tags"))
    lake.insert_new(ITEMS, items)
    lake.insert_new(ITEM_VERSIONS, versions_of(items, created))
    embeddings = pl.DataFrame(
        {"item_id": ids, "content_hash": ids, "model_version": VERSION, "action": "direct"}
    ).with_columns(vector=pl.Series(vectors_ND).cast(pl.List(pl.Float32)))
    lake.insert_new(EMBEDDINGS, _as_table(embeddings, EMBEDDINGS))
    lake.insert_new(EVENTS, _events(rng, ids, kind_N, num_users))


def _events(
    rng: np.random.Generator, ids: np.ndarray, kind_N: np.ndarray, num_users: int
) -> pl.DataFrame:
    of_kind = [np.flatnonzero(kind_N == kind) for kind in range(50)]
    users, items, actions, minutes, requests = [], [], [], [], []
    for user in range(num_users):
        own = np.concatenate([of_kind[kind] for kind in rng.choice(50, 3, replace=False)])
        liked, shown = rng.choice(own, LIKED, replace=False), rng.integers(len(ids), size=SHOWN)
        liked_at = np.sort(rng.integers(0, 80_000, LIKED))[::-1]
        page_at = np.repeat(np.sort(rng.integers(0, 80_000, SHOWN // PER_PAGE)), PER_PAGE)
        items += [liked, shown]
        users += [f"u{user}"] * (LIKED + SHOWN)
        actions += ["like"] * LIKED + ["impression"] * SHOWN
        requests += [None] * LIKED + [f"r{user}-{at}" for at in page_at]
        minutes += [liked_at, page_at]
    back = pl.Series(np.concatenate(minutes)) * 60_000_000
    events = pl.DataFrame(
        {
            "event_id": [str(n) for n in range(len(users))],
            "request_id": requests,
            "user_id": users,
            "item_id": ids[np.concatenate(items)],
            "action": actions,
            "ts": pl.Series([END], dtype=TIME) - back.cast(pl.Duration("us")),
        }
    )
    return _as_table(events, EVENTS)


def _as_table(rows: pl.DataFrame, table: Any) -> pl.DataFrame:
    missing = [pl.lit(None).alias(name) for name in table.schema if name not in rows.columns]
    return rows.with_columns(missing).select(
        pl.col(name).cast(dtype) for name, dtype in table.schema.items()
    )


def trained(lake: Lake) -> Ranker:
    """Return a ranker of the default kind, of 200 pages with random relevance."""
    events = lake.read(EVENTS)
    log = Log(events, lake.read(ITEM_VERSIONS), lake.read(EMBEDDINGS))
    shown = events.filter(pl.col("action") == "impression")
    pages = shown["request_id"].unique(maintain_order=True).head(200)
    impressions = shown.filter(pl.col("request_id").is_in(pages.implode())).with_columns(
        relevance=pl.col("item_id").hash(1).mod(10).eq(0).cast(pl.Int32), position=None
    )
    impressions = impressions.unique(["request_id", "user_id", "item_id"], maintain_order=True)
    items = log.items.select("item_id", "category", "price", "created_at")
    return train(build_features(impressions, events, items, log.vectors), config=RankerConfig())


class CpuStages(Stages):
    """A stopwatch of the processor's time, which other work does not lengthen much."""

    def __init__(self) -> None:
        super().__init__()
        self._cpu_started = time.process_time()

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time that a block takes to a stage."""
        started = time.process_time()
        try:
            yield
        finally:
            self.add(stage, 1000 * (time.process_time() - started))

    @property
    def took_ms(self) -> float:
        """Milliseconds since the start."""
        return 1000 * (time.process_time() - self._cpu_started)


class Timed:
    """A ranker that says how long its last prediction took, alone."""

    def __init__(self, ranker: Ranker) -> None:
        """Stand before a ranker."""
        self._ranker, self.took_ms = ranker, 0.0
        self.clock = time.perf_counter

    def __getattr__(self, name: str) -> Any:
        """Be the ranker otherwise."""
        return getattr(self._ranker, name)

    def predict(self, table: Any) -> np.ndarray:
        """Predict, then once more with the clock on."""
        scores = self._ranker.predict(table)
        started = self.clock()
        self._ranker.predict(table)
        self.took_ms = 1000 * (self.clock() - started)
        return scores


class TimedRecall:
    """Recall that says how long it took for the last request."""

    def __init__(self, recall: Recall) -> None:
        """Stand before recall."""
        self._recall, self.took_ms = recall, 0.0
        self.clock = time.perf_counter

    def __getattr__(self, name: str) -> Any:
        """Be recall otherwise, with the clock on where it is asked for candidates."""
        own = getattr(self._recall, name)
        if name not in ("by_user", "by_history", "liked_together", "popular"):
            return own

        def timed(*given: Any, **named: Any) -> Any:
            started = self.clock()
            found = own(*given, **named)
            self.took_ms += 1000 * (self.clock() - started)
            return found

        return timed


def opened(folder: Path, lake: Lake, ranker: Any) -> tuple[Recommender, TimedRecall]:
    """Return recommendations as a service makes them, all that it keeps in memory read."""
    histories = HistoryStore(lake)
    histories.refresh()
    index = ExactIndex(lake, folder / "vectors", lambda: VERSION)
    counts = DailyCounts(lake, folder)
    counts.refresh()
    living = LivingItems(ItemLookup(lake))
    recall = Recall(index, _no_encoder, histories, neighbours=counts.now, living=living)
    recall.live.followed = VERSION  # as a service follows it
    log = LiveLog(lake, recall, counts)
    log.refresh()
    timed: Any = TimedRecall(recall)
    return Recommender(timed, Ranking(lambda version: ranker, log.known)), timed


def _no_encoder(version: str) -> Any:
    raise AssertionError("no text is asked for")


Ask = Callable[[int, Stages], Recommendations]
"""Asks for the user of a number, with a stopwatch."""


def recommending(recommender: Recommender, num_users: int) -> Ask:
    """Return what recommends 500 items."""

    def ask(number: int, stages: Stages) -> Recommendations:
        asker = Asker(user_id=f"u{number % num_users}")
        found = recommender.recommend(asker, top_k=TOP_K, stages=stages)
        assert not found.fallback
        assert len(found.frame) >= TOP_K - LIKED
        return found

    return ask


def ranking_given(recommender: Recommender, num_users: int, num_items: int) -> Ask:
    """Return what ranks 500 items, others for every request."""
    rng = np.random.default_rng(3)

    def ask(number: int, stages: Stages) -> Recommendations:
        given = [f"i{n:06d}" for n in rng.choice(num_items, TOP_K, replace=False)]
        found = recommender.rank(Asker(user_id=f"u{number % num_users}"), given, stages=stages)
        assert len(found.frame) == TOP_K
        return found

    return ask


def measured(
    ask: Ask, recall: TimedRecall, ranker: Timed, num: int, *, cpu: bool
) -> dict[str, Any]:
    """Return medians of requests of different users, by the clock or the processor."""
    recall.clock = ranker.clock = time.process_time if cpu else time.perf_counter
    whole, bare, stages = list[float](), list[float](), dict[str, list[float]]()
    for number in range(-10, num):  # the first ones warm
        recall.took_ms = 0.0
        found = ask(number, CpuStages() if cpu else Stages())
        if number < 0:
            continue
        whole.append(found.took_ms - ranker.took_ms)
        bare.append(recall.took_ms + ranker.took_ms)
        alone = {"recall alone": recall.took_ms, "predict alone": ranker.took_ms}
        for stage, took_ms in (found.timings_ms | alone).items():
            stages.setdefault(stage, []).append(took_ms)
    ours, rival = statistics.median(whole), statistics.median(bare)
    return {
        "ours": round(ours, 2),
        "rival": round(rival, 2),
        "ratio": round(ours / rival, 2),
        "stages": {name: round(statistics.median(took), 2) for name, took in stages.items()},
    }


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description="Recommend 500 items, against recall and predict.")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--asked", type=int, default=60, help="requests that are timed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-recommend-") as name:
        folder = Path(name)
        lake = Lake(str(folder / "lake"))
        write_lake(lake, num_users=options.users, num_items=options.items, seed=0)
        ranker = Timed(trained(lake))
        recommender, recall = opened(folder, lake, ranker)
        recommend = recommending(recommender, options.users)
        rank = ranking_given(recommender, options.users, options.items)
        times = {
            (what, clock): measured(ask, recall, ranker, options.asked, cpu=clock == "cpu")
            for what, ask in (("recommend", recommend), ("rank", rank))
            for clock in ("cpu", "clock")
        }
    report = {
        "unit": "ms (p50)",
        **times["recommend", "clock"],
        "limit": GOAL,
        "cpu": times["recommend", "cpu"],
        "rank": times["rank", "clock"] | {"cpu": times["rank", "cpu"]},
    }
    print(json.dumps(report | {"load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
