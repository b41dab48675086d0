"""Tests for recall/validation.py and recall/contents.py, on Milvus Lite."""

import numpy as np
import polars as pl
import pytest

from catalog.lake.living_parts import IdRange, LivingPart
from recall.contents import read_contents
from recall.errors import NotFound
from recall.validation import Evidence, validate
from recall.validation_config import ValidationConfig
from recall.vector_search import EVERY_ID, RANKED

RING = {f"i{n:02d}": [np.cos(n / 4), np.sin(n / 4)] for n in range(24)}  # neighbours are n +- 1


class Truth:
    """Brute force over rows of the lake."""

    def __init__(self, rows):
        self.ids = rows["item_id"].to_list()
        self.vectors_ND = np.array(rows["vector"].to_list()).reshape(
            len(rows), len(rows["vector"][0]) if len(rows) else 2
        )

    def vectors(self, item_ids, version):
        known = dict(zip(self.ids, self.vectors_ND, strict=True))
        return {item_id: known[item_id] for item_id in item_ids if item_id in known}

    def search(self, query_vectors_QD, version, *, limit):
        found = []
        for q, query_D in enumerate(query_vectors_QD):
            score_N = np.round(self.vectors_ND @ query_D / np.linalg.norm(query_D), 6)
            for rank, n in enumerate(np.lexsort((self.ids, -score_N))[:limit], start=1):
                found.append((q, self.ids[n], score_N[n], rank))
        return pl.DataFrame(found, schema=RANKED, orient="row")


def check(index, version, rows, *, queries=None, evidence=None, live=None, seed=0, **config):
    """What a validation says of a collection, when the lake holds these rows."""
    return validate(
        index,
        version,
        [LivingPart(EVERY_ID, index.keys(version), rows)],
        truth=Truth(rows),
        queries=queries,
        evidence=evidence,
        live=live,
        config=ValidationConfig(**config),
        seed=seed,
    )


@pytest.fixture(scope="module")
def ring(index, rows):
    frame = rows(**RING)
    index.sync("ring", frame, dim=2)
    return frame


def test_a_collection_equal_to_the_lake_passes(index, ring):
    verdict = check(index, "ring", ring, sample=10, seed=1)
    assert (verdict.num_items, verdict.missing, verdict.stale, verdict.extra) == (24, 0, 0, 0)
    assert verdict.self_retrieval == 1.0
    assert verdict.recall == {"items@10": 1.0, "items@24": 1.0}  # there are no hundred
    assert verdict.passed
    assert verdict.problems == []


def test_missing_stale_and_extra_items_are_told_apart(index, ring):
    lake = pl.concat([ring.filter(pl.col("item_id") > "i02"), ring.head(1)]).with_columns(
        item_id=pl.col("item_id").replace("i00", "new"),
        content_hash=pl.when(pl.col("item_id") == "i05")
        .then(pl.lit("other"))
        .otherwise("content_hash"),
    )
    # The collection holds i00, i01, i02 too many, lacks `new`, and has i05 of another content.
    verdict = check(index, "ring", lake)
    assert (verdict.missing, verdict.stale, verdict.extra) == (1, 1, 3)
    assert not verdict.passed
    assert "1 of 22 items are missing" in verdict.problems[0]


def test_items_with_one_vector_may_stand_for_each_other(index, rows):
    twins = rows(**{item_id: [1, 0] for item_id in "abcdefgh"})
    index.sync("twins", twins, dim=2)
    verdict = check(index, "twins", twins, depths=(2,))
    assert verdict.self_retrieval == 1.0
    assert verdict.recall == {"items@2": 1.0}


def test_vectors_that_moved_without_their_hash_are_found_out(index, ring):
    shuffled = ring.with_columns(vector=pl.Series(ring["vector"].to_list()[::-1]))
    verdict = check(index, "ring", shuffled)
    assert (verdict.missing, verdict.stale, verdict.extra) == (0, 0, 0)
    assert verdict.self_retrieval < 0.5
    assert not verdict.passed
    assert "self_retrieval must be >= 0.99" in verdict.problems[0]


def test_drift_is_measured_against_the_live_version(index, ring, rows):
    turned = rows(**{item_id: [-y, x] for item_id, (x, y) in RING.items()})
    places = np.random.default_rng(0).permutation(list(RING.values()))
    mixed = rows(**dict(zip(RING, places, strict=True)))
    index.sync("turned", turned, dim=2)
    index.sync("mixed", mixed, dim=2)
    same = check(index, "turned", turned, live="ring")  # a rotation keeps every cosine
    assert (same.live_version, same.live_overlap) == ("ring", 1.0)
    assert same.score_shift == pytest.approx(0, abs=1e-5)
    assert check(index, "ring", ring, live="ring").live_version is None
    assert check(index, "ring", ring, live="gone").live_version is None
    other = check(index, "mixed", mixed, live="ring", min_live_overlap=0.7)
    assert other.live_overlap < 0.7
    assert [p.split()[0] for p in other.problems] == ["live_overlap"]


def test_the_sample_depends_on_the_seed_and_not_on_the_order_of_rows(index, ring):
    # The first twelve have wrong vectors, so that it shows which items were taken.
    vectors = ring["vector"].to_list()
    half_wrong = ring.with_columns(vector=pl.Series(vectors[6:12] + vectors[:6] + vectors[12:]))
    one = check(index, "ring", half_wrong, sample=3, seed=5)
    assert check(index, "ring", half_wrong.reverse(), sample=3, seed=5) == one
    others = [check(index, "ring", half_wrong, sample=3, seed=seed) for seed in range(8)]
    assert len({other.self_retrieval for other in others}) > 1


def test_a_version_without_a_collection_is_named(index, ring):
    with pytest.raises(NotFound, match="'nobody'"):
        validate(index, "nobody", [], truth=Truth(ring))


def test_an_empty_catalogue_passes_with_an_empty_collection_alone(index, ring, rows):
    verdict = check(index, "ring", ring.clear())
    assert (verdict.num_items, verdict.extra) == (0, 24)
    assert verdict.problems == ["24 items should not be there; sync again"]
    index.sync("emptied", rows(a=[1, 0]), dim=2)
    assert index.remove("emptied", pl.Series(["a", "b"])) == 1
    assert check(index, "emptied", ring.clear()).passed


def test_an_earlier_content_is_stale_and_no_fault_while_it_awaits_its_embedding(index, ring):
    behind = pl.when(pl.col("item_id") == "i05").then(pl.lit("other")).otherwise("content_hash")
    lake = ring.with_columns(
        awaits_embedding=pl.col("item_id").is_in(["i01", "i02"]), content_hash=behind
    )
    # i01 and i02 hold an earlier content, as they should; i05 holds another than it should.
    verdict = check(index, "ring", lake)
    assert (verdict.missing, verdict.stale, verdict.awaiting) == (0, 3, 2)
    assert verdict.problems == ["1 of 24 items are stale; sync version 'ring' again"]
    assert check(index, "ring", lake.with_columns(content_hash=ring["content_hash"])).passed


class Shallow:
    """An index that finds only so many, as an approximate one may for a query like no item."""

    def __init__(self, index, most):
        self._index, self._most = index, most

    def __getattr__(self, name):
        return getattr(self._index, name)

    def search(self, vectors_QD, version, *, limit):
        found = self._index.search(vectors_QD, version, limit=limit)
        return found.filter(pl.col("recall_rank") <= self._most)


def test_what_users_ask_is_held_against_exact_search_at_every_depth(index, ring):
    asked = {"profiles": np.array([[0.0, 1.0], [1.0, 1.0]])}
    found = check(Shallow(index, 12), "ring", ring, queries=asked, depths=(6, 12, 24))
    halves = {f"{kind}@24": 0.5 for kind in ("items", "profiles")}
    wholes = {f"{kind}@{depth}": 1.0 for kind in ("items", "profiles") for depth in (6, 12)}
    assert found.recall == wholes | halves
    assert [problem.split(";")[0] for problem in found.problems] == [
        "recall of items@24 must be >= 0.95, got 0.5000",
        "recall of profiles@24 must be >= 0.95, got 0.5000",
    ]
    assert all("raise PONDER_INDEX_EF" in problem for problem in found.problems)


@pytest.mark.parametrize(
    ("evidence", "config", "problem"),
    [
        ({"num_living": 26}, {}, "coverage must be >= 0.95, got 0.9231"),
        ({"canary_cosine": 0.5}, {}, "canary_cosine must be >= 0.98, got 0.5000"),
        ({"last_centroid_D": (0.0, -1.0)}, {}, "centroid_cosine must be >= 0.9"),
        (
            {"reasoning_rate": 0.1, "last_reasoning_rate": 0.4},
            {"max_reasoning_change": 0.2},
            "reasoning_change must be <= 0.2, got -0.3000",
        ),
        (
            {"judged_recall": 0.5, "live_judged_recall": 0.6},
            {},
            "judged_drop must be <= 0.02, got 0.1000",
        ),
        ({"wait_hours": 9.0}, {"max_wait_hours": 8.0}, "wait_hours must be <= 8.0, got 9.0"),
    ],
)
def test_every_threshold_names_the_number_that_fails_it(index, ring, evidence, config, problem):
    [found] = check(index, "ring", ring, evidence=Evidence(**evidence), **config).problems
    assert found.startswith(problem)


def test_what_is_better_or_merely_told_is_no_problem(index, ring):
    mean_D = tuple(np.array(ring["vector"].to_list()).mean(axis=0))
    fine = Evidence(
        num_living=24,
        canary_cosine=0.999,
        reasoning_rate=1.0,
        last_reasoning_rate=0.0,
        wait_hours=1e6,
        judged_recall=0.9,
        live_judged_recall=0.1,
        last_centroid_D=mean_D,
    )
    verdict = check(index, "ring", ring, evidence=fine)
    assert verdict.problems == []
    assert verdict.centroid_cosine == pytest.approx(1)
    assert verdict.centroid_D == pytest.approx(mean_D, abs=1e-6)


def test_contents_do_not_depend_on_how_ids_are_cut(index, ring):
    def cut(*begins):
        ends = [*begins[1:], None]
        return [
            LivingPart(
                IdRange(begin, end),
                index.keys("ring", IdRange(begin, end)),
                ring.filter((pl.col("item_id") >= begin) & (pl.col("item_id") < (end or "z"))),
            )
            for begin, end in zip(begins, ends, strict=True)
        ]

    one, many = (
        read_contents(cut(*begins), dim=2, sample=5, seed=3)
        for begins in (("",), ("", "i03", "i11", "i12"))
    )
    assert (one.digest, one.sample_ids) == (many.digest, many.sample_ids)
    assert (one.num_items, many.num_items, many.missing) == (24, 24, 0)
    assert np.allclose(one.centroid_D, many.centroid_D)
    assert one.digest == index.digest("ring")


def test_a_digest_tells_other_keys_and_other_contents(index, ring):
    index.sync("other", ring.with_columns(content_hash=pl.col("content_hash") + "x"), dim=2)
    index.sync("fewer", ring.head(23), dim=2)
    digests = [index.digest(version) for version in ("ring", "other", "fewer")]
    assert len(set(digests)) == 3
    index.sync("fewer", ring, dim=2)
    assert index.digest("fewer") == digests[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_recall": 1.1},
        {"min_canary_cosine": -2},
        {"max_judged_drop": -0.1},
        {"depths": ()},
        {"depths": (2_000,)},
        {"sample": 0},
        {"encoded": -1},
    ],
)
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        ValidationConfig(**wrong)
