"""Tests for serving/recommend.py and serving/rank.py, on Milvus Lite."""

import time
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from catalog.lake.tables import EVENTS
from features.centred_embeddings import CentredEmbeddings
from features.cooccurrence import cooccurrence
from features.histories import HistoryConfig, positive_events
from features.neighbours import Neighbours, NeighboursNow
from features.pages import pages_of
from features.table import FeatureConfig, build_features
from ranker.config import RankerConfig
from ranker.training import train
from recall.candidates import RecallOptions
from recall.errors import InvalidQuery, NotFound, OutOfTime, Unavailable
from recall.filters import Filter
from recall.search import Recall
from serving.errors import RankerMismatch
from serving.rank import NUM_REASONS, Asker, Ranking
from serving.recommend import NUM_INTERESTS, Recommender
from tests.index_fixtures import AxisCoder, KnownHistories
from tests.serving.clicks import (
    IDS,
    LOG,
    NOON,
    NUM_ITEMS,
    VECTORS_ND,
    Catalogue,
    HandRanker,
    HeldRanker,
    known_of,
    nothing_saved,
    recommender,
    spoilt,
)


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


def test_a_ranker_of_another_set_is_asked_with_the_features_of_that_set_alone(recall):
    config = FeatureConfig(groups=("collaborative", "swing"))
    impressions = pages_of(LOG.events).impressions
    made = build_features(impressions, LOG.events, LOG.items, LOG.vectors, config=config)
    other = train(made, config=RankerConfig(num_rounds=5, min_data_in_leaf=5, num_members=1))
    kept = []
    ranking = Ranking(lambda version: other, known_of, now=lambda: NOON, served=kept.append)
    found = Recommender(recall, ranking).recommend(Asker(user_id="u1"), top_k=4).frame
    [table] = kept
    assert table.features == config.features
    assert table.frame["swing_max"].max() > 0
    np.testing.assert_allclose(other.predict(table), found["score"], atol=1e-12)


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


def test_items_that_share_codes_with_the_history_are_a_channel_of_their_own(recall, ranker):
    asked = recommender(recall, lambda version: ranker)
    plain = asked.recommend(Asker(user_id="u0"), top_k=NUM_ITEMS).frame
    assert "codes" not in plain["channels"].explode()
    found = asked.recommend(Asker(user_id="u0"), top_k=NUM_ITEMS, code_levels=1, explain=True)
    codes_of = dict(zip(IDS, AxisCoder().assign(VECTORS_ND).tolist(), strict=True))
    liked = recall.liked_by("u0")
    first_codes = {codes_of[item][0] for item in liked}
    assert 1 < len(first_codes) <= NUM_INTERESTS
    by_codes = found.frame.filter(pl.col("channels").list.contains("codes"))
    expected = {item for item in IDS if codes_of[item][0] in first_codes} - set(liked)
    assert set(by_codes["item_id"]) == expected
    for item, because in by_codes.select("item_id", "because").iter_rows():
        assert because in liked, item
    with pytest.raises(InvalidQuery, match=r"code_levels must be in \[1, 2\]"):
        asked.recommend(Asker(user_id="u0"), code_levels=3)


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


def test_a_ranking_that_nobody_waits_for_is_not_begun(recall, ranker):
    past = time.monotonic() - 1
    asker, held = Asker(user_id="u3"), HeldRanker()
    with pytest.raises(OutOfTime, match="before the candidates were ranked"):
        recommender(recall, lambda version: held).rank(asker, ["i01"], deadline=past)
    assert held.num_asked == 0
