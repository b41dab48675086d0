"""Tests for serving/recommend.py: the ranker's order, on Milvus Lite and over HTTP."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from polars.testing import assert_frame_equal

from catalog.lake.tables import EVENTS, TIME
from features.activity import ActivityView
from features.centred_embeddings import CentredEmbeddings, Centring
from features.cooccurrence import cooccurrence
from features.histories import HistoryConfig, positive_events
from features.item_states import ItemStates
from features.live import known_now
from features.log import Log
from features.neighbours import Neighbours, NeighboursNow
from features.pages import pages_of
from features.table import FeatureConfig, build_features
from ranker.config import RankerConfig
from ranker.training import train
from recall.candidates import RecallOptions
from recall.errors import InvalidQuery, NotFound, OutOfTime, Unavailable
from recall.filters import Filter
from recall.search import Recall
from serving.app import RANKING_THREADS, create_app
from serving.errors import RankerMismatch
from serving.rank import NUM_REASONS, Asker, Ranking
from serving.recommend import Recommender
from tests.index_fixtures import KnownHistories

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


LOG = Log(events(), items(), vectors(), cooccurrence(events()))


def known_of(version, user_id, item_ids, *, now, acts=None):
    """What `LOG` says by then."""
    assert version == "v1"
    activity = ActivityView.of_events(LOG.events, now)
    user_events, own = activity.of_user(user_id)
    if acts is not None:
        user_events, own = len(acts), acts
    return known_now(
        item_ids,
        own,
        now=now,
        user_id=user_id,
        user_events=user_events,
        activity=activity,
        states=ItemStates.of(LOG.items),
        vectors=(pl.Series(IDS), VECTORS_ND),
        neighbours=Neighbours.of(LOG.counts),
    )


@pytest.fixture(scope="module")
def recall(index, rows, encoder):
    index.sync("v1", rows(**dict(zip(IDS, VECTORS_ND.tolist(), strict=True))), dim=4)
    index.promote("v1")

    liked = positive_events(LOG.events, config=HistoryConfig()).sort("ts", descending=True)
    newest = liked.group_by("user_id").agg(pl.col("item_id").unique(maintain_order=True))
    histories = KnownHistories(dict(newest.iter_rows()))
    return Recall(index, lambda version: encoder, histories)


@pytest.fixture(scope="module")
def ranker():
    impressions = pages_of(LOG.events).impressions
    table = build_features(impressions, LOG.events, LOG.items, LOG.vectors)
    return train(table, config=RankerConfig(num_rounds=10, min_data_in_leaf=5, num_members=1))


def recommender(recall, ranker_of):
    return Recommender(recall, Ranking(ranker_of, known_of, now=lambda: NOON))


class HandRanker:
    """Gives every item a score of its own."""

    centring = Centring("v1", (0.0,) * 4, ())

    def __init__(self, score_of):
        self.score_of = score_of

    def check(self, hash_of_schema, version):
        assert (hash_of_schema, version) == (FeatureConfig().schema_hash, "v1")

    def predict(self, table):
        return np.array([self.score_of.get(item, 0.0) for item in table.frame["item_id"]])


def test_items_come_in_the_rankers_order_ties_by_id(recall):
    unseen = recall.by_user(
        "u0", RecallOptions(top_k=NUM_ITEMS, exclude_seen="liked", max_interests=3)
    ).frame
    one, two, *others = unseen["item_id"]
    by_hand = HandRanker({two: 5.0, others[-1]: 4.0, one: -1.0})
    found = (
        recommender(recall, lambda version: by_hand)
        .recommend(Asker(user_id="u0"), top_k=NUM_ITEMS)
        .frame
    )
    assert found["item_id"].to_list() == [two, others[-1], *sorted(others[:-1]), one]
    assert found["rank"].to_list() == list(range(1, len(unseen) + 1))
    assert found["score"].to_list() == [5.0, 4.0, *[0.0] * (len(others) - 1), -1.0]
    of_recall = dict(unseen.select("item_id", "recall_score").iter_rows())
    assert dict(found.select("item_id", "recall_score").iter_rows()) == of_recall


def test_scores_are_those_of_the_features_of_the_whole_log_as_of_now(recall, ranker):
    found = (
        recommender(recall, lambda version: ranker)
        .recommend(Asker(user_id="u1"), top_k=NUM_ITEMS)
        .frame
    )
    asked = found.select(
        "item_id",
        request_id=pl.lit("r"),
        user_id=pl.lit("u1"),
        ts=pl.lit(NOON).cast(EVENTS.schema["ts"]),
    )
    centred = CentredEmbeddings.of(LOG.vectors, ranker.centring)
    table = build_features(asked, LOG.events, LOG.items, LOG.vectors, centred=centred)
    expected = ranker.predict(table)
    np.testing.assert_array_equal(found["score"].to_numpy(), expected)
    assert np.all(np.diff(expected) <= 0)
    assert len(set(expected)) > 1


def test_features_of_what_is_answered_to_a_user_are_kept_as_they_were(recall, ranker):
    kept = []
    ranking = Ranking(lambda version: ranker, known_of, now=lambda: NOON, served=kept.append)
    serving = Recommender(recall, ranking)
    found = serving.recommend(Asker(user_id="u1"), top_k=4).frame
    serving.recommend(Asker(history=("i03",)), top_k=4)  # nobody whom an impression could name
    [table] = kept
    assert table.frame["item_id"].to_list() == found["item_id"].to_list()
    assert table.frame["user_id"].unique().to_list() == ["u1"]
    np.testing.assert_allclose(ranker.predict(table), found["score"], atol=1e-12)


def test_what_was_liked_is_not_recommended_and_a_filter_holds(recall, ranker):
    liked = set(positive_events(LOG.events, config=HistoryConfig()).filter(user_id="u2")["item_id"])
    found = recommender(recall, lambda version: ranker).recommend(
        Asker(user_id="u2"), top_k=NUM_ITEMS
    )
    assert set(found.frame["item_id"]) == set(IDS) - liked
    two = Filter(include_ids=tuple(sorted(set(IDS) - liked)[:2]))
    few = recommender(recall, lambda version: ranker).recommend(Asker(user_id="u2"), filter=two)
    assert set(few.frame["item_id"]) == set(two.include_ids)
    none = recommender(recall, lambda version: ranker).recommend(
        Asker(user_id="u2"), filter=Filter(include_ids=())
    )
    assert none.frame.is_empty()


def test_a_history_is_ranked_like_a_user_who_liked_it_just_now(recall, ranker):
    given = recommender(recall, lambda version: ranker).recommend(
        Asker(history=("i03", "i07")), top_k=NUM_ITEMS
    )
    assert set(given.frame["item_id"]) == set(IDS) - {"i03", "i07"}
    likes = pl.DataFrame(
        [
            {"event_id": f"x{n}", "user_id": "new", "item_id": item_id, "action": "like"}
            | {"ts": NOON - timedelta(minutes=n)}
            for n, item_id in enumerate(["i03", "i07"], start=1)
        ],
        schema=EVENTS.schema,
    )
    asked = given.frame.select(
        "item_id",
        request_id=pl.lit("r"),
        user_id=pl.lit("new"),
        ts=pl.lit(NOON).cast(EVENTS.schema["ts"]),
    )
    centred = CentredEmbeddings.of(LOG.vectors, ranker.centring)
    events = pl.concat([LOG.events, likes])
    table = build_features(asked, events, LOG.items, LOG.vectors, centred=centred)
    np.testing.assert_array_equal(given.frame["score"].to_numpy(), ranker.predict(table))


def test_given_items_are_ranked_as_they_would_be_recommended_whatever_their_order(recall, ranker):
    serving = recommender(recall, lambda version: ranker)
    some = ["i09", "i02", "i20", "i11", "unknown"]
    found = serving.rank(Asker(user_id="u1"), some).frame
    assert sorted(found["item_id"]) == sorted(some)
    assert found["score"].is_sorted(descending=True)
    assert found["rank"].to_list() == [1, 2, 3, 4, 5]
    assert_frame_equal(serving.rank(Asker(user_id="u1"), some[::-1]).frame, found)


def test_reasons_are_the_largest_contributions(recall, ranker):
    found = recommender(recall, lambda version: ranker).recommend(
        Asker(user_id="u1"), top_k=3, explain=True
    )
    assert len(found.reasons) == 3
    for reasons in found.reasons:
        assert 0 < len(reasons) <= NUM_REASONS
        assert set(reasons) <= set(ranker.feature_names)
        sizes = [abs(by) for by in reasons.values()]
        assert sizes == sorted(sizes, reverse=True)


def test_what_is_popular_is_a_candidate_beside_what_is_near(recall, ranker):
    liked = set(positive_events(LOG.events, config=HistoryConfig()).filter(user_id="u0")["item_id"])
    new = sorted(set(IDS) - liked)[0]
    popular = KnownHistories({"u0": sorted(liked)}, popular=[new, *sorted(liked)])
    both = Recall(recall.index, lambda version: None, popular)
    found = recommender(both, lambda version: ranker).recommend(Asker(user_id="u0"), top_k=1000)
    channels = dict(found.frame.select("item_id", "channels").iter_rows())
    assert channels[new] == ["interest", "popular"]
    assert not liked & set(channels)


def test_a_stranger_gets_what_is_popular_and_is_told_so(recall, ranker):
    popular = KnownHistories({}, popular=["i05", "i06"])
    both = Recall(recall.index, lambda version: None, popular)
    found = recommender(both, lambda version: ranker).recommend(Asker(user_id="nobody"))
    assert set(found.frame["item_id"]) == {"i05", "i06"}
    assert "no history of likes; these are popular and fresh items" in found.fallback
    assert found.frame["recall_score"].null_count() == 2


class Catalogue:
    """Living items, with or without a vector; in place of `recall.living_items.LivingItems`."""

    def __init__(self, *item_ids):
        self.item_ids = set(item_ids)

    def that_meet(self, filter, item_ids):
        wanted = self.item_ids if filter.include_ids is None else {*filter.include_ids}
        return self.item_ids & wanted & {*item_ids} - {*filter.exclude_ids}


@pytest.fixture(scope="module")
def together():
    """u8 and u9 liked i00 with two items that no vector finds, one of which is deleted."""
    rows = [
        {"event_id": f"{user}{item_id}", "user_id": user, "item_id": item_id, "action": "like"}
        | {"ts": NOON - timedelta(days=2, minutes=minute)}
        for user in ("u8", "u9")
        for minute, item_id in enumerate(["i00", "i05", "plain", "gone"])
    ]
    counts = cooccurrence(pl.DataFrame(rows, schema=EVENTS.schema))
    return lambda: NeighboursNow.at(Neighbours.of(counts), NOON)


def recall_of(recall, together, histories):
    living = Catalogue(*IDS, "plain")
    return Recall(recall.index, lambda version: None, histories, neighbours=together, living=living)


def test_what_was_liked_together_is_a_candidate_with_or_without_a_vector(recall, ranker, together):
    every = recall_of(recall, together, KnownHistories({"me": ["i00", "i07"]}))
    serving = recommender(every, lambda version: ranker)
    found = serving.recommend(Asker(user_id="me"), top_k=1000, explain=True).frame
    rows = {row["item_id"]: row for row in found.to_dicts()}
    assert rows.keys() == {*IDS, "plain"} - {"i00", "i07"}
    assert rows["plain"]["channels"] == ["collaborative"]
    assert (rows["plain"]["because"], rows["plain"]["recall_score"]) == ("i00", None)
    assert rows["i05"]["channels"] == ["collaborative", "interest"]
    assert -1 <= rows["i05"]["recall_score"] <= 1
    few = serving.recommend(Asker(user_id="me"), filter=Filter(include_ids=("plain", "i07"))).frame
    assert few["item_id"].to_list() == ["plain"]
    assert few["because"].to_list() == [None]  # it was not asked for
    assert (
        serving.recommend(Asker(history=("i00",)), top_k=1000)
        .frame["item_id"]
        .is_in(["plain"])
        .any()
    )


def test_a_history_without_vectors_is_one_all_the_same(recall, ranker, together):
    histories = KnownHistories({"me": ["plain"]}, popular=["i09", "plain"])
    serving = recommender(recall_of(recall, together, histories), lambda version: ranker)
    found = serving.recommend(Asker(user_id="me"), strict=True)
    channels = dict(found.frame.select("item_id", "channels").iter_rows())
    assert found.fallback == ""
    assert channels == {
        "i00": ["collaborative"],
        "i05": ["collaborative"],
        "i09": ["popular"],
    }


class NothingLive:
    """An index before the first promotion."""

    def request(self):
        return nullcontext()

    def live_version(self):
        return None


def test_while_no_version_is_live_only_the_vectors_are_missing(ranker, together):
    histories = KnownHistories({"me": ["i00"]}, popular=["i00", "i09"])
    nothing_live = Recall(
        NothingLive(),
        lambda version: None,
        histories,
        neighbours=together,
        living=Catalogue("i00", "i05", "i09", "plain"),
    )
    ranking = Ranking(lambda version: ranker, known_of, now=lambda: NOON)
    serving = Recommender(nothing_live, ranking, unindexed_version=lambda: "v1")
    found = serving.recommend(Asker(user_id="me"), top_k=5)
    assert (found.version, found.fallback) == ("v1", "")
    assert set(found.frame["item_id"]) == {"i05", "i09", "plain"}
    stranger = serving.recommend(Asker(user_id="nobody"))
    assert set(stranger.frame["item_id"]) == {"i00", "i09"}
    assert stranger.fallback == (
        "no version is live to compare with user 'nobody'; these are popular and fresh items"
    )
    with pytest.raises(NotFound, match="nothing is liked together with what user 'nobody' liked"):
        serving.recommend(Asker(user_id="nobody"), strict=True)
    assert serving.rank(Asker(user_id="me"), ["plain"]).version == "v1"
    unready = Ranking(nothing_saved, known_of)
    with pytest.raises(Unavailable, match="no model version is live"):
        Recommender(nothing_live, unready, unindexed_version=lambda: "v1").recommend(
            Asker(user_id="me")
        )


def test_given_items_are_ranked_over_http(recall, ranker):
    with client_of(recall, lambda version: ranker) as client:
        asked = {"user_id": "u3", "item_ids": ["i01", "i02"], "explain": True}
        reply = client.post("/v1/rank", json=asked).json()
        twice = client.post("/v1/rank", json={"user_id": "u3", "item_ids": ["i01", "i01"]})
    assert [row["rank"] for row in reply["candidates"]] == [1, 2]
    assert all(row["reasons"] and row["recall_score"] is None for row in reply["candidates"])
    assert twice.status_code == 422
    assert "must hold each item once, got 'i01' again" in twice.json()["error"]["message"]


def nothing_saved(version):
    raise FileNotFoundError("manifest.json")


def spoilt(version):
    raise ValueError("model.txt must be the model its manifest describes")


@pytest.mark.parametrize("user_id", ["idle", "nobody"])
def test_a_user_without_a_history_is_not_found(recall, ranker, user_id):
    with pytest.raises(NotFound, match=f"user '{user_id}' has no history"):
        recommender(recall, lambda version: ranker).recommend(Asker(user_id=user_id), strict=True)


def test_without_a_ranker_nothing_is_recommended(recall):
    with pytest.raises(
        Unavailable, match="no ranker of version 'v1' is in use; run ponder features and"
    ):
        recommender(recall, nothing_saved).recommend(Asker(user_id="u0"))
    with pytest.raises(RankerMismatch, match="the model its manifest describes"):
        recommender(recall, spoilt).recommend(Asker(user_id="u0"))


def test_a_ranker_of_another_version_or_schema_is_refused(recall, ranker):
    other = replace(ranker, centring=replace(ranker.centring, model_version="v0"))
    with pytest.raises(RankerMismatch, match="features of embedder 'v0', got 'v1'; train a ranker"):
        recommender(recall, lambda version: other).recommend(Asker(user_id="u0"))
    other = replace(ranker, schema_hash="0123")
    with pytest.raises(RankerMismatch, match="must get features of schema 0123"):
        recommender(recall, lambda version: other).recommend(Asker(user_id="u0"))


def test_a_number_of_items_out_of_range_is_refused(recall, ranker):
    with pytest.raises(InvalidQuery, match="top_k must be"):
        recommender(recall, lambda version: ranker).recommend(Asker(user_id="u0"), top_k=1001)


def client_of(recall, ranker_of):
    return TestClient(create_app(recall, recommender(recall, ranker_of)))


def test_recommendations_come_over_http(recall, ranker):
    with client_of(recall, lambda version: ranker) as client:
        reply = client.post("/v1/recommend", json={"user_id": "u3", "top_k": 3}).json()
        metrics = client.get("/metrics").text
    expected = recommender(recall, lambda version: ranker).recommend(Asker(user_id="u3"), top_k=3)
    took_ms, timings = reply.pop("took_ms"), reply.pop("timings")
    assert {"wait", "history", "search", "log", "features", "rank"} <= timings.keys()
    assert 0 < sum(timings.values()) <= took_ms
    rows = [row | {"reasons": None} for row in expected.frame.to_dicts()]
    assert reply == {"version": "v1", "fallback": "", "candidates": rows}
    assert 'recommend_answers_total{outcome="ok"} 1.0' in metrics
    assert "recommend_seconds_count 1.0" in metrics


class HeldRanker(HandRanker):
    """Ranks when it is let go."""

    def __init__(self):
        super().__init__({})
        self.goes_on, self.num_asked = threading.Event(), 0

    def predict(self, table):
        self.num_asked += 1
        assert self.goes_on.wait(20)
        return super().predict(table)


@pytest.mark.parametrize(
    ("path", "wanted"), [("/v1/recommend", {"top_k": 3}), ("/v1/rank", {"item_ids": ["i01"]})]
)
def test_a_deadline_of_a_ranking_holds_and_counts_the_wait(recall, path, wanted):
    held = HeldRanker()
    asked = {"user_id": "u3", **wanted, "deadline_ms": 300}
    with client_of(recall, lambda version: held) as client, ThreadPoolExecutor(6) as pool:
        began = time.monotonic()
        replies = list(pool.map(lambda _: client.post(path, json=asked), range(6)))
        took_s = time.monotonic() - began
        told = {(reply.status_code, reply.json()["error"]["type"]) for reply in replies}
        num_asked = held.num_asked
        held.goes_on.set()
        assert client.post(path, json=asked | {"deadline_ms": 20_000}).status_code == 200
    assert told == {(504, "out_of_time")}
    assert 0.3 <= took_s < 5
    assert num_asked <= RANKING_THREADS  # the others gave up before they had a thread


def test_a_ranking_that_nobody_waits_for_is_not_begun(recall, ranker):
    past = time.monotonic() - 1
    asker, held = Asker(user_id="u3"), HeldRanker()
    with pytest.raises(OutOfTime, match="before the candidates were ranked"):
        recommender(recall, lambda version: held).rank(asker, ["i01"], deadline=past)
    assert held.num_asked == 0


@pytest.mark.parametrize(
    ("query", "ranker_of", "status", "kind"),
    [
        ({}, nothing_saved, 422, "invalid_request"),
        ({"user_id": "u0", "top_k": 0}, nothing_saved, 422, "invalid_request"),
        ({"user_id": "u0"}, nothing_saved, 503, "unavailable"),
        ({"user_id": "u0"}, spoilt, 409, "ranker_mismatch"),
        ({"user_id": "nobody", "strict": True}, nothing_saved, 404, "not_found"),
        ({"user_id": "u0", "history": ["i01"]}, nothing_saved, 422, "invalid_request"),
    ],
)
def test_why_nothing_is_recommended_is_told_over_http(recall, query, ranker_of, status, kind):
    with client_of(recall, ranker_of) as client:
        reply = client.post("/v1/recommend", json=query)
    assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)


def test_a_service_without_a_recommender_has_no_such_address(recall):
    with TestClient(create_app(recall)) as client:
        assert client.post("/v1/recommend", json={"user_id": "u0"}).status_code == 404


def test_every_field_is_described_in_openapi(recall, ranker):
    with client_of(recall, lambda version: ranker) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    ours = {
        *("RecallRequest", "RecallReply", "Candidate", "Filter", "Range"),
        *("RecommendRequest", "RecommendReply", "Recommendation"),
    }
    assert ours <= schemas.keys()
    for name in ours:
        for field, schema in schemas[name]["properties"].items():
            assert schema.get("description"), f"{name}.{field}"
    deadline = schemas["RecallRequest"]["properties"]["deadline_ms"]["description"]
    assert deadline.startswith("Reasoning that takes longer gives way to the direct embedding")
