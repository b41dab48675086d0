"""Tests for ranker/left_out.py and ranker/training_table.py: a log of ratings."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from catalog.lake.tables import EVENTS, ITEMS
from features.daily_sums import days_of
from features.log import Log
from features.request_store import EVENT_COLUMNS, RequestStore
from ranker.config import RankerConfig
from ranker.experiment import Variant
from ranker.left_out import evaluate_left_out, held_out_ranks
from ranker.rating_log import RatingLog, RatingRules
from ranker.rating_parts import add_rating_requests
from ranker.stage_one import StageOneConfig
from ranker.training import train
from ranker.training_table import rating_table
from tests.ranker.tables import training_table

START = datetime(2026, 1, 1, tzinfo=UTC)
TREES = RankerConfig(num_rounds=10, min_data_in_leaf=5, num_members=1)


def items(num_items):
    return pl.DataFrame(
        [
            {
                "item_id": f"i{n:03d}",
                "category": "c",
                "image_hash": None if n == 0 else "h",
                "created_at": START,
                "updated_at": START,
                "deleted": n == 1,
                "content_hash": "x",
            }
            for n in range(num_items)
        ],
        schema=ITEMS.schema,
    )


def vectors(num_items):
    """Even and odd items point in two directions, with a little noise of their own."""
    rng = np.random.default_rng(0)
    direction_ND = np.eye(8)[np.arange(num_items) % 2] + rng.normal(0, 0.2, (num_items, 8))
    direction_ND /= np.linalg.norm(direction_ND, axis=1, keepdims=True)
    return pl.DataFrame(
        {
            "item_id": [f"i{n:03d}" for n in range(num_items)],
            "vector": direction_ND.astype(np.float32).tolist(),
            "model_version": "v",
        }
    )


def ratings(num_users, num_items, per_user):
    """Even users rate even items, odd users odd ones."""
    rng = np.random.default_rng(1)
    rows = []
    for user in range(num_users):
        liked = [n for n in range(2, num_items) if n % 2 == user % 2]
        for k, n in enumerate(rng.choice(liked, per_user, replace=False)):
            rows.append(
                {
                    "event_id": f"{user}-{k}",
                    "user_id": f"u{user}",
                    "item_id": f"i{n:03d}",
                    "action": "rating",
                    "value": 5.0,
                    "ts": START + timedelta(hours=100 * user + k),
                }
            )
    return pl.DataFrame(rows, schema=EVENTS.schema)


@pytest.fixture(scope="module")
def log():
    return Log(ratings(100, 60, 8), items(60), vectors(60))


VARIANTS = {  # who liked what together tells the halves apart as well
    "without match": Variant(groups=("context",)),
    "with match": Variant(groups=("context", "match", "feedback")),
}


@pytest.fixture(scope="module")
def reports(log):
    """The report under each rule."""
    rated = {known: RatingLog(log, RatingRules(known=known)) for known in ("as_of", "all")}
    return {
        known: evaluate_left_out(one, rating_table(one), variants=VARIANTS, config=TREES)
        for known, one in rated.items()
    }


def test_match_features_find_the_half_of_the_catalogue_that_a_user_likes(reports):
    report = reports["as_of"]
    assert report.protocol == "leave_last_out"
    assert (report.num_users, report.num_candidates) == (100, 59)
    assert report.alarms == []
    # 29 candidates of a user's kind less the 7 seen: blind choice inside them hits 10 / 22.
    with_match = report.metrics["with match"]["hit@10"].mean
    without = report.metrics["without match"]["hit@10"].mean
    assert with_match > without
    assert with_match > 0.3
    difference = report.differences["with match"]["hit@10"].mean
    assert difference == pytest.approx(with_match - without)


def test_slices_share_out_the_users_and_bound_what_a_ranker_finds(reports):
    found = dict(reports["as_of"].found)
    everybody = found.pop("all")
    assert sum(part.num_users for part in found.values()) == everybody.num_users == 100
    assert everybody.metrics == reports["as_of"].metrics
    for part in (everybody, *found.values()):
        assert part.metrics["with match"]["hit@10"].mean <= part.in_stage_one.mean


def test_an_item_that_stage_one_loses_is_not_found(log):
    rules = RatingRules(
        stage_one=StageOneConfig(neighbours=0, popular=5, favourites=0, nearest=0, fresh=0)
    )
    rated = RatingLog(log, rules)
    ranker = train(rating_table(rated), config=TREES)
    asked = rated.test()
    rank_U = held_out_ranks(rated, asked, {"one": ranker})["one"]
    has_answer = set(asked.rows.filter(pl.col("relevance") == 1)["user_id"])
    assert 0 < len(has_answer) < 100
    assert [user in has_answer for user in asked.asked["user_id"]] == np.isfinite(rank_U).tolist()
    assert rank_U[np.isfinite(rank_U)].max() <= 5


def test_everything_known_counts_likes_of_all_times_but_the_answers(log):
    rated = RatingLog(log, RatingRules(known="all"))
    for requests, answers in ((rated.training(), 5), (rated.test(), 0)):
        counts = requests.counts
        item = counts.rows_of(pl.Series(["i004"]))
        first_day = days_of(pl.Series([START]))
        known = rated.events.sort("user_id", "ts", "item_id")
        if answers:
            known = known.group_by("user_id").head(7 - answers)
        assert counts.users(item, first_day) == len(known.filter(pl.col("item_id") == "i004"))


def test_what_a_table_knows_of_later_events_raises_an_alarm(log):
    rated = RatingLog(log)
    table = rating_table(rated)
    leaking = table.with_frame(table.frame.with_columns(pl.col("co_decayed") + pl.col("relevance")))
    alarms = evaluate_left_out(rated, leaking, config=TREES).alarms
    assert {alarm.kind for alarm in alarms} == {"feature", "clock"}
    assert all("co_decayed" in alarm.features for alarm in alarms)


def test_a_tie_goes_to_the_smaller_id():
    from ranker.left_out import _ranks_of_relevant

    frame = pl.DataFrame(
        {
            "request_id": ["u"] * 3 + ["v"] * 2,
            "item_id": ["b", "a", "c", "x", "y"],
            "relevance": [1, 0, 0, 0, 1],
        }
    )
    # u: a and b tie at the top and a comes first by id; v: y wins alone.
    ranks = _ranks_of_relevant(frame, np.array([0.5, 0.5, 0.1, 0.2, 0.9]))
    assert ranks.rows() == [("u", 2), ("v", 1)]


def test_a_log_of_words_alone_trains(log):
    """No item has an image, and nothing but ratings is known."""
    made = training_table(Log(log.events, log.items.with_columns(image_hash=None), log.vectors))
    assert train(made.table, config=TREES).trained_on.num_rows == len(made.table.frame)


def test_requests_made_of_some_users_at_a_time_are_those_of_the_whole_log(tmp_path):
    """Also of users who liked one thing, or were only shown something."""
    rated = ratings(30, 60, 8)
    shown = rated.head(40).with_columns(
        ("i" + pl.col("event_id")).alias("event_id"),
        pl.lit("impression").alias("action"),
        user_id=pl.concat_str(pl.lit("shown-"), "user_id"),
    )
    events = pl.concat([rated, shown, rated.head(1).with_columns(user_id=pl.lit("new"))])
    log = Log(events.sample(fraction=1.0, shuffle=True, seed=0), items(60), vectors(60))
    whole, store = RatingLog(log).training(), RequestStore(tmp_path)
    counts = add_rating_requests(
        *(store, log.events.lazy(), log.items, log.vectors, tmp_path),
        with_swing=False,
        rows_at_once=90,
        users_at_once=7,
    )
    assert len(list(tmp_path.glob("requests-*"))) > 5
    days = list(store.num_rows())
    keys = ["ts", "request_id", "user_id", "item_id"]
    assert_frame_equal(store.requests_between(days[0], days[-1]), whole.rows.sort(keys))
    assert counts.item_ids.equals(whole.counts.item_ids)
    for name in ("pair_P", "weight_P", "item_Q", "users_Q"):
        assert (getattr(counts, name) == getattr(whole.counts, name)).all(), name
    known = store.reader().known_before(whole.rows.with_columns(pl.col("ts") + timedelta(days=999)))
    both = known.events.sort(pl.all()), RatingLog(log).events.select(EVENT_COLUMNS).sort(pl.all())
    assert both[0].equals(both[1].filter(pl.col("action") != "impression"))
    assert known.earlier.shown["earlier"].sum() == len(both[1]) - len(both[0])


def test_a_log_without_requests_says_so(log):
    with pytest.raises(ValueError, match="land events first"):
        training_table(Log(EVENTS.empty(), log.items, log.vectors))
