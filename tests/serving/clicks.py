"""Six users who click what is near to an axis of theirs, and rankers of their features."""

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from catalog.lake.tables import EVENTS, TIME
from features.activity import ActivityView
from features.centring import Centring
from features.cooccurrence import cooccurrence
from features.groups import DEFAULT_GROUPS
from features.item_states import ItemStates
from features.live import known_now
from features.log import Log
from features.neighbours import Neighbours
from features.table import FeatureConfig
from serving.rank import Ranking
from serving.recommend import Recommender

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUM_ITEMS = 30
IDS = [f"i{k:02d}" for k in range(NUM_ITEMS)]
VECTORS_ND = np.random.default_rng(0).normal(size=(NUM_ITEMS, 4)).astype(np.float32)


def events():
    """Six users see five items an hour; each clicks the one nearest to an axis of their own."""
    rng = np.random.default_rng(1)
    rows = []
    for r in range(120):
        user, shown = r % 6, rng.choice(NUM_ITEMS, 5, replace=False)
        row = {"request_id": f"r{r}", "user_id": f"u{user}"}
        ts = NOON - timedelta(hours=200 - r)
        rows += [row | {"item_id": IDS[k], "action": "impression", "ts": ts} for k in shown]
        clicked = shown[VECTORS_ND[shown, user % 4].argmax()]
        ts += timedelta(minutes=1)
        rows.append(row | {"item_id": IDS[clicked], "action": "click", "ts": ts})
    rows.append({"user_id": "idle", "item_id": "i00", "action": "skip", "ts": NOON})
    return pl.DataFrame(
        [row | {"event_id": str(n)} for n, row in enumerate(rows)], schema=EVENTS.schema
    )


def items():
    created = [NOON - timedelta(days=30 + k) for k in range(NUM_ITEMS)]
    return pl.DataFrame(
        {
            "item_id": IDS,
            "category": [f"c{k % 3}" for k in range(NUM_ITEMS)],
            "created_at": created,
        },
        schema_overrides={"created_at": TIME},
    )


def vectors(version="v1"):
    lists = pl.Series(VECTORS_ND.tolist(), dtype=pl.List(pl.Float32))
    return pl.DataFrame({"item_id": IDS, "vector": lists, "model_version": version})


LOG = Log(events(), items(), vectors(), cooccurrence(events(), with_swing=True))


def known_of(request):
    """What `LOG` says by then."""
    assert request.version == "v1"
    return known_now(
        request,
        activity=ActivityView.of_events(LOG.events, request.now),
        states=ItemStates.of(LOG.items),
        vectors=(pl.Series(IDS), VECTORS_ND),
        neighbours=Neighbours.of(LOG.counts),
    )


def recommender(recall, ranker_of):
    return Recommender(recall, Ranking(ranker_of, known_of, now=lambda: NOON))


class HandRanker:
    """Gives every item a score of its own."""

    centring = Centring("v1", (0.0,) * 4, ())
    groups = DEFAULT_GROUPS

    def __init__(self, score_of):
        self.score_of = score_of

    def check(self, hash_of_schema, version):
        assert (hash_of_schema, version) == (FeatureConfig().schema_hash, "v1")

    def predict(self, table):
        return np.array([self.score_of.get(item, 0.0) for item in table.frame["item_id"]])


class HeldRanker(HandRanker):
    """Ranks when it is let go."""

    def __init__(self):
        super().__init__({})
        self.goes_on, self._asked = threading.Event(), []
        self._each = threading.Semaphore(0)

    @property
    def num_asked(self):
        return len(self._asked)

    def wait_for(self, num_asked):
        """Return when so many rankings have begun."""
        for _ in range(num_asked):
            assert self._each.acquire(timeout=120)

    def predict(self, table):
        self._asked.append(table)
        self._each.release()
        assert self.goes_on.wait(120)
        return super().predict(table)


def nothing_saved(version):
    raise FileNotFoundError("manifest.json")


def spoilt(version):
    raise ValueError("model.txt must be the model its manifest describes")


class Catalogue:
    """Living items, with or without a vector; in place of `recall.living_items.LivingItems`."""

    def __init__(self, *item_ids):
        self.item_ids = set(item_ids)

    def that_meet(self, filter, item_ids):
        wanted = self.item_ids if filter.include_ids is None else {*filter.include_ids}
        return self.item_ids & wanted & {*item_ids} - {*filter.exclude_ids}
