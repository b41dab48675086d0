"""Tests for what a query may ask of recall: interests, exclusions, fallback, words, diversity.

Axes: red, green, blue, grey.
"""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from catalog.lake.lake import Lake
from catalog.lake.tables import ITEMS
from embedder.content import Content
from features.profile import ProfileConfig
from recall.candidates import RecallOptions
from recall.catalogue_store import CatalogueStore
from recall.errors import InvalidQuery, NotFound, Unavailable
from recall.filters import Filter
from recall.retrieval import Seed
from recall.search import Recall
from recall.stages import Stages
from tests.index_fixtures import KnownHistories

ITEMS_OF = {
    "rose": [1, 0, 0, 0],
    "rust": [0.96, 0, 0, 0.28],
    "leaf": [0, 1, 0, 0],
    "moss": [0, 0.96, 0, 0.28],
    "sky": [0, 0, 1, 0],
    "sea": [0, 0, 0.96, 0.28],
    "plum": [0.8, 0, 0.6, 0],
    "twin": [2, 0, 0, 0],
}
TITLES = {
    "rose": "a flower",
    "rust": "iron",
    "leaf": "garden hose",
    "moss": "garden",
    "sky": "hose hose",
    "ghost": "garden hose hose",
}
IMAGES = {"rust": "same", "plum": "same"}
START = datetime(2026, 1, 1, tzinfo=UTC)
EVENLY = ProfileConfig(half_life=1e9)
HISTORIES = KnownHistories(
    {"ann": ["rose", "leaf", "sky"], "bob": ["gone"], "eve": []},
    acted={"ann": ["moss"], "cat": ["rose"]},
    shown={"ann": ["sea"]},
    popular=["plum", "gone", "leaf", "rose", "sea"],
)


def written(lake):
    rows = [
        dict.fromkeys(ITEMS.columns)
        | {"item_id": item_id, "title": title, "tags": [], "attributes": json.dumps({"price": 1})}
        | {"created_at": START + timedelta(days=day), "updated_at": START}
        | {"deleted": False, "content_hash": title}
        for day, (item_id, title) in enumerate(TITLES.items())
    ]
    lake.upsert_items(pl.DataFrame(rows, schema=ITEMS.schema))
    store = CatalogueStore(lake)
    store.refresh()
    return store


@pytest.fixture(scope="module")
def recall(index, rows, encoder, tmp_path_factory):
    index.sync("v1", rows(**ITEMS_OF), dim=4)
    index.promote("v1")
    return Recall(
        index,
        {"v1": encoder}.__getitem__,
        HISTORIES,
        EVENLY,
        catalogue=written(Lake(str(tmp_path_factory.mktemp("lake")))),
        image_hashes_of=lambda ids: {i: IMAGES[i] for i in ids if i in IMAGES},
    )


def ids(found):
    return found.frame["item_id"].to_list()


def by_text(recall, text, **options):
    return recall.by_content(Content(text), RecallOptions(**options))


def test_every_interest_of_a_history_finds_its_own(recall):
    found = recall.by_user("ann", RecallOptions(top_k=4, max_interests=3, exclude_seen="liked"))
    # Each interest is an axis: rose's nearest are twin and rust, leaf's moss, sky's sea. They weigh
    # the same, so they take turns in the order of their newest items.
    assert ids(found) == ["twin", "moss", "sea", "rust"]
    frame = found.frame
    assert frame["interest"].to_list() == ["rose", "leaf", "sky", "rose"]
    assert frame["channels"].to_list() == [["interest"]] * 4
    np.testing.assert_allclose(frame["recall_score"], [1, 0.96, 0.96, 0.96], atol=1e-6)
    assert [(i.item_id, i.size) for i in found.interests] == [("rose", 1), ("leaf", 1), ("sky", 1)]
    assert sum(i.weight for i in found.interests) == pytest.approx(1)


def test_one_interest_is_the_mean_of_the_history(recall):
    found = recall.by_user("ann", RecallOptions(top_k=1, exclude_seen="liked"))
    # rose + leaf + sky: plum is at (.8 + .6) / sqrt 3
    assert ids(found) == ["plum"]
    np.testing.assert_allclose(found.frame["recall_score"], [1.4 / np.sqrt(3)], atol=1e-6)
    assert (found.interests, found.frame["channels"].to_list()) == ((), [["profile"]])


@pytest.mark.parametrize(
    ("seen", "left_out"),
    [
        ("none", set()),
        ("liked", {"rose", "leaf", "sky"}),
        ("acted", {"rose", "leaf", "sky", "moss"}),
        ("shown", {"rose", "leaf", "sky", "moss", "sea"}),
    ],
)
@pytest.mark.parametrize("max_interests", [1, 3])
def test_what_a_user_has_seen_is_left_out_as_far_as_it_is_asked(
    recall, seen, left_out, max_interests
):
    options = RecallOptions(top_k=9, exclude_seen=seen, max_interests=max_interests)
    assert set(ids(recall.by_user("ann", options))) == ITEMS_OF.keys() - left_out


# Popular: plum, leaf, rose, sea (gone is in no version). Fresh: sky, moss, leaf, rust, rose (ghost
# is in no version). Two popular and one fresh take turns.
POPULAR_AND_FRESH = ["plum", "leaf", "sky", "rose", "sea", "moss", "rust"]


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("stranger", "user 'stranger' has no history of likes"),
        ("eve", "user 'eve' has no history of likes"),
        ("bob", "none of the 1 items of user 'bob' is in version 'v1'"),
    ],
)
def test_a_cold_user_gets_what_is_popular_and_fresh_and_is_told(recall, user, reason):
    found = recall.by_user(user, RecallOptions(top_k=7))
    assert ids(found) == POPULAR_AND_FRESH
    assert found.fallback == f"{reason}; these are popular and fresh items"
    frame = found.frame
    assert frame["recall_score"].null_count() == 7
    assert frame["recall_rank"].to_list() == list(range(1, 8))
    assert frame["channels"].to_list()[:3] == [["popular"], ["popular", "fresh"], ["fresh"]]
    with pytest.raises(NotFound, match=f"{reason}; ask by text or by item, or without strict"):
        recall.by_user(user, RecallOptions(strict=True))


def test_an_empty_history_falls_back_and_so_does_one_of_unknown_items(recall):
    for history in ([], ["gone", "lost"]):
        found = recall.by_history(history, RecallOptions(top_k=2))
        assert ids(found) == ["plum", "leaf"]
        assert "the history" in found.fallback


def test_a_fallback_keeps_to_the_filter_and_leaves_out_what_was_seen(recall):
    some = Filter(include_ids=("sky", "sea", "rose", "plum"), exclude_ids=("plum",))
    found = recall.by_user("cat", RecallOptions(top_k=9, filter=some))
    assert ids(found) == ["sea", "sky"]  # cat acted on rose, and liked nothing
    seen_too = recall.by_user("cat", RecallOptions(top_k=9, filter=some, exclude_seen="none"))
    assert ids(seen_too) == ["rose", "sea", "sky"]


def test_hybrid_search_fuses_meaning_and_words_and_keeps_the_cosine(index, encoder, recall):
    class Words:
        """Takes two words for the colour that is meant."""

        def encode_query(self, queries, **options):
            return encoder.encode_query([Content("green")], **options)

    words = Recall(index, lambda version: Words(), HISTORIES, catalogue=recall._catalogue)
    found = by_text(words, "garden hose", top_k=4, hybrid=True)
    # By meaning: leaf 1, moss .96, and the others at 0 by id: plum, rose, rust, sea, sky, twin.
    # By words (BM25, over 6 titles): leaf has both words, sky `hose` twice, moss `garden` alone in
    # a short title; ghost is in no version.
    lexical = [m.item_id for m in recall._catalogue.lexical("garden hose", limit=9)]
    lexical.remove("ghost")
    assert set(lexical) == {"leaf", "sky", "moss"}
    dense = ["leaf", "moss", "plum", "rose", "rust", "sea", "sky", "twin"]
    fused = {
        item: sum(1 / (61 + ranked.index(item)) for ranked in (dense, lexical) if item in ranked)
        for item in dense
    }
    assert ids(found) == sorted(fused, key=lambda item: (-fused[item], item))[:4]
    frame = found.frame
    np.testing.assert_allclose(frame["fused_score"], sorted(fused.values())[::-1][:4])
    scores = dict(zip(frame["item_id"], frame["recall_score"], strict=True))
    assert (scores["leaf"], scores["sky"]) == pytest.approx((1, 0), abs=1e-6)
    channels = dict(zip(frame["item_id"], frame["channels"].to_list(), strict=True))
    assert channels["sky"] == ["content", "lexical"]
    assert "lexical" in found.timings_ms


def test_what_only_words_find_has_its_cosine_and_keeps_to_the_filter(recall):
    only = Filter(exclude_ids=tuple(ITEMS_OF.keys() - {"sky", "leaf"}))
    seed = Seed(np.array([0, 3, 4, 0], dtype=np.float32), "content")
    found = recall._retrieval._fused([], seed, "v1", "garden hose", filter=only, stages=Stages())
    assert {one.item_id: (one.score, one.channels) for one in found} == {
        "leaf": (pytest.approx(0.6), ("lexical",)),
        "sky": (pytest.approx(0.8), ("lexical",)),
    }


def test_hybrid_search_without_words_is_unavailable(index, encoder):
    plain = Recall(index, lambda version: encoder, HISTORIES)
    with pytest.raises(Unavailable, match="there is no text index here"):
        by_text(plain, "red", hybrid=True)


def test_near_duplicates_by_vector_or_image_are_left_out_and_others_take_their_place(recall):
    plain = by_text(recall, "red", top_k=4)
    assert ids(plain) == ["rose", "twin", "rust", "plum"]
    assert ids(by_text(recall, "red", top_k=4, max_similarity=1.0)) == [
        *("rose", "rust", "leaf", "moss"),  # twin is rose; plum shows the image of rust
    ]
    found = by_text(recall, "red", top_k=4, max_similarity=0.95)
    assert ids(found) == ["rose", "plum", "leaf", "sea"]
    assert found.frame["recall_rank"].to_list() == [1, 2, 3, 4]
    assert "diversity" in found.timings_ms


def test_more_is_looked_for_when_too_many_are_near_duplicates(index, rows, recall):
    many = {f"copy{n:03d}": [1, 0, 0, 0] for n in range(150)} | {"other": [0.6, 0.8, 0, 0]}
    index.sync("many", rows(**many), dim=4)
    options = RecallOptions(top_k=2, max_similarity=0.99, version="many")
    found = Recall(index, lambda version: None, HISTORIES).by_history(["copy007"], options)
    assert ids(found) == ["copy000", "other"]


def test_maximal_marginal_relevance_spreads_candidates_out(recall):
    # After rose (1): twin gains .5 - .5, plum .5 * .8 - .5 * .8, all 0; with less weight on
    # relevance what is far from rose comes first.
    spread = by_text(recall, "red", top_k=3, mmr_lambda=0.2)
    assert ids(spread)[0] == "rose"
    assert not {"twin", "rust"} & set(ids(spread))
    assert ids(by_text(recall, "red", top_k=8, mmr_lambda=1.0)) == ids(by_text(recall, "red"))
    both = by_text(recall, "red", top_k=3, mmr_lambda=1.0, max_similarity=0.95)
    assert ids(both) == ["rose", "plum", "leaf"]


def test_an_attribute_that_no_item_has_gets_a_hint(recall):
    found = by_text(recall, "red", filter=Filter(attributes={"prize": 1}))
    assert ids(found) == []
    assert found.hints == (
        "no item has the attribute 'prize', so a condition on it lets nothing pass; the nearest "
        "that items have: 'price'",
    )
    assert by_text(recall, "red", filter=Filter(attributes={"price": 1})).hints == ()


def test_the_token_budget_and_the_deadline_reach_the_encoder_and_are_told(recall):
    found = by_text(recall, "red", policy="always", max_new_tokens=3)
    assert (found.rationale, found.gate_probability, found.is_cut_short) == ("bec", 0.5, False)
    late = by_text(recall, "red", policy="always", deadline_s=0.1)
    assert (late.action, late.direct_because, late.is_cut_short) == ("direct", "too late", True)


@pytest.mark.parametrize(
    "wrong",
    [{"top_k": 0}, {"max_interests": 9}, {"mmr_lambda": 1.1}, {"max_similarity": 0.0}],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidQuery, match="must be in"):
        RecallOptions(**wrong)
