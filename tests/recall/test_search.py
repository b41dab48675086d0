"""Tests for recall/search.py, on Milvus Lite. Axes: red, green, blue, grey."""

import time
from contextlib import nullcontext

import numpy as np
import pytest

from embedder.content import Content, Encoding
from features.profile import ProfileConfig
from recall.candidates import CANDIDATES, RecallOptions
from recall.errors import InvalidQuery, NotFound, Unavailable
from recall.filters import Filter
from recall.search import Recall
from tests.index_fixtures import KnownHistories

ITEMS = {
    "rose": [1, 0, 0, 0],
    "leaf": [0, 1, 0, 0],
    "sky": [0, 0, 1, 0],
    "plum": [0.8, 0, 0.6, 0],
    "moss": [0, 0.8, 0, 0.6],
}
STRICT = RecallOptions(strict=True)
HISTORIES = {"ann": ["rose", "gone", "sky"], "bob": ["gone"]}


@pytest.fixture(scope="module")
def recall(index, rows, encoder):
    index.sync("v1", rows(**ITEMS), dim=4)
    index.promote("v1")
    return Recall(index, {"v1": encoder}.__getitem__, KnownHistories(HISTORIES))


def ids(candidates) -> list[str]:
    return candidates.frame["item_id"].to_list()


def test_a_text_finds_the_items_it_names(recall):
    found = recall.by_content(Content("red"), RecallOptions(top_k=3))
    # rose 1.0, plum 0.8, and of the three at 0.0 the first by id.
    assert ids(found) == ["rose", "plum", "leaf"]
    np.testing.assert_allclose(found.frame["recall_score"], [1.0, 0.8, 0.0], atol=1e-6)
    assert found.frame["recall_rank"].to_list() == [1, 2, 3]
    assert (found.version, found.action, found.rationale) == ("v1", "direct", "")
    assert found.took_ms > 0


def test_an_image_alone_and_with_a_text_is_a_query(recall):
    assert ids(recall.by_content(Content(image=b"png"), RecallOptions(top_k=1))) == ["sky"]
    # red + blue, normalised: plum 0.99, rose and sky 0.71.
    assert ids(recall.by_content(Content("red", b"png"), RecallOptions(top_k=3))) == [
        "plum",
        "rose",
        "sky",
    ]


def test_the_policy_reaches_the_encoder_and_its_rationale_comes_back(recall):
    found = recall.by_content(Content("red"), RecallOptions(top_k=1, policy="always"))
    assert (found.action, found.rationale) == ("reason", "because")


def test_an_item_finds_its_neighbours_and_not_itself(recall):
    found = recall.by_item("rose", RecallOptions(top_k=2))
    assert ids(found) == ["plum", "leaf"]
    assert found.action is None


def test_an_item_query_keeps_the_filter_it_came_with(recall):
    found = recall.by_item("rose", RecallOptions(top_k=5, filter=Filter(exclude_ids=("plum",))))
    assert ids(found) == ["leaf", "moss", "sky"]


def test_a_profile_is_searched_by_what_sets_it_off_from_the_centre(recall, encoder):
    centres = {"v1": np.array([0.8, 0, 0, 0])}
    apart = Recall(
        recall.index, {"v1": encoder}.__getitem__, KnownHistories(HISTORIES), centre_of=centres.get
    )
    one = RecallOptions(top_k=4)
    # Plum less the centre is (0, 0, .6, 0): sky 1.0, and three at 0.0 by id. As it is: rose .8.
    assert ids(recall.by_history(["plum"], one)) == ["rose", "sky", "leaf", "moss"]
    found = apart.by_history(["plum"], one)
    assert ids(found) == ["sky", "leaf", "moss", "rose"]
    np.testing.assert_allclose(found.frame["recall_score"], [1, 0, 0, 0], atol=1e-6)
    two = RecallOptions(top_k=2, max_interests=2)
    # Moss less the centre is (-.8, .8, 0, .6): leaf .8 / 1.28; rose was plum's best before.
    assert set(ids(recall.by_history(["plum", "moss"], two))) == {"rose", "leaf"}
    assert set(ids(apart.by_history(["plum", "moss"], two))) == {"sky", "leaf"}
    assert ids(apart.by_item("plum", one)) == ids(recall.by_item("plum", one))


def test_a_user_finds_what_fits_their_history_and_nothing_seen(recall):
    # Profile: rose with weight 1, sky with 2^-(1/10) (`gone` has no vector): plum leads.
    assert ids(recall.by_user("ann", RecallOptions(top_k=5))) == ["plum", "leaf", "moss"]
    # cos(plum) = .987 of 1, rose .731, sky .682
    seen_too = recall.by_user("ann", RecallOptions(top_k=3, exclude_seen="none"))
    assert ids(seen_too) == ["plum", "rose", "sky"]


def test_only_the_newest_items_shape_a_profile_but_all_are_left_out(recall, index, encoder):
    short = Recall(index, lambda version: encoder, KnownHistories(), ProfileConfig(max_history=1))
    assert ids(short.by_history(["leaf", "rose", "sky"], RecallOptions(top_k=5))) == [
        "moss",
        "plum",
    ]


@pytest.fixture
def two(index, encoder):
    """Profiles of two items, each weighing the same."""
    config = ProfileConfig(max_history=2, half_life=1e9)
    return Recall(index, lambda version: encoder, KnownHistories(HISTORIES), config)


@pytest.mark.parametrize(
    "history",
    [
        [*(f"gone{n}" for n in range(60)), "rose", "sky", "leaf"],
        ["rose", *(f"gone{n}" for n in range(300)), "sky", "leaf"],
        ["gone0", "rose", "gone1", "sky", *(f"gone{n}" for n in range(9)), "leaf"],
        [*["gone"] * 40, "rose", *["gone"] * 40, "sky"],
        [*(f"gone{n}" for n in range(12_000)), "rose", "sky"],
    ],
    ids=["before", "between", "alternating", "one-again-and-again", "more-than-are-left-out"],
)
def test_the_newest_items_that_still_exist_shape_the_profile(recall, two, history):
    # rose + sky: plum is at (.8 + .6) / sqrt 2 = .99, leaf and moss at a right angle.
    found = two.by_history(history, RecallOptions(top_k=5)).frame
    assert found["item_id"][0] == "plum"
    np.testing.assert_allclose(found["recall_score"][0], 1.4 / np.sqrt(2), atol=1e-6)
    assert not {"rose", "sky"} & set(found["item_id"])  # what shaped it is not recommended


def test_an_item_acted_on_twice_weighs_twice_whatever_is_gone_between(recall, index, encoder):
    config = ProfileConfig(max_history=3, half_life=1e9)
    three = Recall(index, lambda version: encoder, KnownHistories(HISTORIES), config)
    history = ["rose", *(f"gone{n}" for n in range(60)), "rose", "sky", "leaf"]
    found = three.by_history(history, RecallOptions(top_k=1, exclude_seen="none")).frame
    # 2 rose + sky: plum at (2 * .8 + .6) / sqrt 5 = .984, rose at 2 / sqrt 5 = .894.
    assert found["item_id"][0] == "plum"
    np.testing.assert_allclose(found["recall_score"][0], 2.2 / np.sqrt(5), atol=1e-6)


def test_every_match_comes_back_when_fewer_match_than_asked(recall):
    only = Filter(include_ids=("moss", "sky"))
    assert ids(recall.by_content(Content("green"), RecallOptions(top_k=10, filter=only))) == [
        "moss",
        "sky",
    ]


@pytest.mark.parametrize(
    ("ask", "error", "match"),
    [
        (lambda r: r.by_item("gone"), NotFound, "item 'gone' is not in version 'v1'"),
        (lambda r: r.by_user("eve", STRICT), NotFound, "user 'eve' has no history of likes"),
        (
            lambda r: r.by_user("bob", STRICT),
            NotFound,
            "none of the 1 items of user 'bob' is in version",
        ),
        (lambda r: r.by_content(Content(" ")), InvalidQuery, "got none of them"),
        (lambda r: r.by_content(Content("pink")), InvalidQuery, r"unknown words \['pink'\]"),
        (lambda r: r.by_content(Content("red"), RecallOptions(top_k=0)), InvalidQuery, "got 0"),
        (
            lambda r: r.by_content(Content("red"), RecallOptions(top_k=1001)),
            InvalidQuery,
            "got 1001",
        ),
    ],
)
def test_a_query_that_cannot_be_answered_says_why(recall, ask, error, match):
    with pytest.raises(error, match=match):
        ask(recall)


def test_no_encoder_for_the_live_version_is_unavailable(index, recall):
    stranger = Recall(index, {}.__getitem__, KnownHistories(HISTORIES))
    with pytest.raises(Unavailable, match="no encoder for version 'v1'"):
        stranger.by_content(Content("red"))


def test_a_promotion_in_the_middle_of_a_request_does_not_mix_versions(index, rows, encoder):
    index.sync("old", rows(rose=[1, 0, 0, 0], leaf=[0, 1, 0, 0]), dim=4)
    index.sync("new", rows(rose=[0, 1], leaf=[1, 0]), dim=2)
    index.promote("old")

    def promote_while_loading(version):
        assert version == "old"
        index.promote("new")
        return encoder

    found = Recall(index, promote_while_loading, KnownHistories()).by_content(Content("red"))
    assert found.version == "old"
    assert ids(found) == ["rose", "leaf"]
    assert index.live_version() == "new"
    index.promote("v1")


def test_no_live_version_is_unavailable(index, encoder):
    class Dark:
        def request(self):
            return nullcontext()

        def live_version(self):
            return None

    with pytest.raises(Unavailable, match="no model version is live"):
        Recall(Dark(), lambda version: encoder, KnownHistories()).by_content(Content("red"))


def test_candidates_have_the_columns_that_are_told_and_say_how_they_came_about(recall):
    found = recall.by_content(Content("red"), RecallOptions(top_k=1))
    assert found.frame.schema == CANDIDATES
    assert found.frame["channels"].to_list() == [["content"]]
    assert (found.index_kind, found.consistency) == ("milvus_flat", "strong")
    assert list(found.timings_ms) == ["version", "prepare", "queue", "encode", "search"]
    assert sum(found.timings_ms.values()) <= found.took_ms


class HurriedEncoder:
    """Remembers how long it was given."""

    version, dim = "v1", 4

    def __init__(self):
        self.given_s = []

    def encode_query(self, queries, *, policy=None, deadline_s=None, max_new_tokens=None):
        self.given_s.append(deadline_s)
        return [Encoding(np.array([1.0, 0, 0, 0]), "direct", 0.0) for _ in queries]


class SlowIndex:
    """An index whose searches take a while."""

    def __init__(self, index):
        self._index = index

    def __getattr__(self, name):
        return getattr(self._index, name)

    def search(self, *asked, **options):
        time.sleep(0.25)
        return self._index.search(*asked, **options)


def test_the_slower_the_search_the_more_of_a_deadline_is_kept_for_it(recall):
    model = HurriedEncoder()
    slow = Recall(SlowIndex(recall.index), lambda version: model, KnownHistories())
    for _ in range(3):
        slow.by_content(Content("red"), RecallOptions(deadline_s=1.0))
    first, *_, last = model.given_s
    assert 0.5 <= last < first - 0.03 <= 0.87


class SlowHistories(KnownHistories):
    """Takes a while to read a history."""

    def of(self, user_id):
        time.sleep(0.05)
        return super().of(user_id)


def test_the_time_counts_the_reading_of_the_history(recall, encoder):
    slow = Recall(recall.index, lambda version: encoder, SlowHistories({"ann": ["rose"]}))
    found = slow.by_user("ann")
    assert list(found.timings_ms) == ["history", "version", "vectors", "interests", "search"]
    assert 50 <= found.timings_ms["history"] <= sum(found.timings_ms.values()) <= found.took_ms


def test_another_version_than_the_live_one_answers_when_it_is_asked(index, rows, recall, encoder):
    index.sync("v2", rows(rose=[0, 1, 0, 0], leaf=[1, 0, 0, 0]), dim=4)
    both = Recall(index, {"v1": encoder, "v2": encoder}.__getitem__, KnownHistories())
    found = both.by_content(Content("red"), RecallOptions(version="v2"))
    assert (found.version, ids(found)) == ("v2", ["leaf", "rose"])
    assert both.by_content(Content("red")).version == "v1"
    for ask in (lambda o: both.by_item("rose", o), lambda o: both.by_content(Content("red"), o)):
        with pytest.raises(NotFound, match="version 'v9' is not in the index, which holds"):
            ask(RecallOptions(version="v9"))
