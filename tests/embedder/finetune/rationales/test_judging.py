"""Tests for judging.py: what a judge is asked, and what becomes of it."""

import random
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.finetune.rationales.config import JudgingConfig
from embedder.finetune.rationales.judging import CHUNK, JUDGED, judge_rationales
from embedder.finetune.rationales.negatives import Negatives
from embedder.finetune.rationales.paired import pair_rationales
from embedder.finetune.records import GeneratedRationale
from embedder.reasoners.cache import content_key
from embedder.reasoners.reasoner import ReasonerOutage

NOTHING = JUDGED.to_frame()


def pair(number):
    return Pair(
        *(Content(f"query {number}"), Content(f"target {number}")),
        *(f"q{number}", f"t{number}", f"p{number:03d}"),
        source="clicks",
    )


def generated(content, side, text, **options):
    return GeneratedRationale(content_key(content), side, "w", text, "", 1, **options)


def negatives(number):
    return Negatives(
        tuple(Content(f"item {number}{letter}") for letter in "ab"),
        tuple(Content(f"question {number}{letter}") for letter in "ab"),
    )


PAIRS = [pair(n) for n in range(2)]
CONTRASTS = {one.pair_id: negatives(n) for n, one in enumerate(PAIRS)}


class TableJudge:
    """Log-odds from a table of (query, target, rationale); remembers its inputs."""

    name = "table"

    def __init__(self, table=None, *, down_after=None):
        self.judge_inputs, self.table, self._down_after = [], table, down_after

    def log_odds(self, judge_inputs):
        if self._down_after is not None and len(self.judge_inputs) >= self._down_after:
            raise ReasonerOutage("HTTP 503")
        self.judge_inputs += judge_inputs
        return np.array([self._odds(judge_input) for judge_input in judge_inputs])

    def _odds(self, judge_input):
        asked = (
            judge_input.query.text,
            judge_input.target.text,
            judge_input.rationale and judge_input.rationale.text,
        )
        if self.table is not None:
            return self.table[asked]
        return random.Random(repr(asked)).random()


def judged_by(judge, paired, config, *, negatives=CONTRASTS, before=NOTHING):
    frames = [before]
    judge_rationales(paired, judge, negatives, config, judged=before, append=frames.append)
    return pl.concat(frames)


def test_a_pair_is_judged_with_the_rationale_without_and_on_negatives():
    told = generated(PAIRS[0].query, "query", "r")
    judge = TableJudge(
        {
            ("query 0", "target 0", None): 1.0,
            ("query 0", "target 0", "r"): 3.5,
            ("query 0", "item 0a", None): -2.0,
            ("query 0", "item 0a", "r"): -1.0,
            ("query 0", "item 0b", None): -4.0,
            ("query 0", "item 0b", "r"): -4.5,
        }
    )
    paired = pair_rationales(PAIRS, [told], names={})
    (row,) = judged_by(judge, paired, JudgingConfig(num_negatives=2)).to_dicts()
    assert (row["without"], row["with"], row["with_shuffled"]) == (1.0, 3.5, None)
    assert row["gain_on_negatives"] == (1.0 - 0.5) / 2
    assert (row["pair_id"], row["source"], row["side"], row["text"]) == (
        *("p000", "clicks", "query", "r"),
    )
    assert {len(judge_input.others) for judge_input in judge.judge_inputs} == {2}


def test_on_the_item_side_the_negatives_are_queries():
    told = generated(PAIRS[0].target, "item", "r")
    judge = TableJudge(
        {
            ("query 0", "target 0", None): 1.0,
            ("query 0", "target 0", "r"): 2.0,
            ("question 0a", "target 0", None): 5.0,
            ("question 0a", "target 0", "r"): 7.0,
        }
    )
    paired = pair_rationales(PAIRS, [told], names={})
    (row,) = judged_by(judge, paired, JudgingConfig(num_negatives=1)).to_dicts()
    assert (row["with"], row["gain_on_negatives"]) == (2.0, 2.0)


def test_without_a_rationale_its_place_is_left_out_and_a_negative_swaps_with_the_partner():
    told = generated(PAIRS[0].query, "query", "r")
    judge = TableJudge()
    judged_by(judge, pair_rationales(PAIRS, [told], names={}), JudgingConfig(num_negatives=1))
    assert [
        (judge_input.target.text, judge_input.rationale is None)
        for judge_input in judge.judge_inputs
    ] == [
        ("target 0", True),
        ("item 0a", True),
        ("target 0", False),
        ("item 0a", False),
    ]
    assert judge.judge_inputs[0].others == CONTRASTS["p000"].items
    assert judge.judge_inputs[1].others == (Content("target 0"), Content("item 0b"))


def test_what_two_offers_need_is_asked_once():
    told = [generated(PAIRS[0].query, "query", text) for text in ("r", "s", "t")]
    judge = TableJudge()
    judged_by(judge, pair_rationales(PAIRS, told, names={}), JudgingConfig())
    assert len(judge.judge_inputs) == 1 + 3


def test_a_shuffled_rationale_is_about_another_content_of_the_same_side():
    told = [generated(one.query, "query", f"on {one.query.text}") for one in PAIRS]
    told += [generated(one.target, "item", f"on {one.target.text}") for one in PAIRS]
    judge = TableJudge()
    rows = judged_by(
        judge, pair_rationales(PAIRS, told, names={}), JudgingConfig(against_shuffled=True)
    )
    expected = {
        ("p000", "query"): ("query 0", "target 0", "on query 1"),
        ("p001", "query"): ("query 1", "target 1", "on query 0"),
        ("p000", "item"): ("query 0", "target 0", "on target 1"),
        ("p001", "item"): ("query 1", "target 1", "on target 0"),
    }
    for row in rows.iter_rows(named=True):
        asked = expected[row["pair_id"], row["side"]]
        assert row["with_shuffled"] == random.Random(repr(asked)).random()


def test_what_is_lent_is_never_about_the_same_content():
    class KnowsWhose:
        """1 for a rationale about the query of its input, else 0."""

        name = "knows whose"

        def log_odds(self, judge_inputs):
            about_own = [
                c.rationale and c.rationale.text.endswith(c.query.text) for c in judge_inputs
            ]
            return np.array([float(bool(is_own)) for is_own in about_own])

    told = [
        generated(one.query, "query", f"{text} on {one.query.text}")
        for one in PAIRS
        for text in "rstuv"
    ]
    paired = pair_rationales(PAIRS, told, names={})
    rows = judged_by(KnowsWhose(), paired, JudgingConfig(against_shuffled=True))
    assert rows["with"].to_list() == [1.0] * 10
    assert rows["with_shuffled"].to_list() == [0.0] * 10


def test_what_is_lent_is_the_same_workers_where_it_wrote_about_another_content():
    pairs = [pair(n) for n in range(6)]
    told = [
        replace(generated(one.query, "query", f"{worker} on {one.query.text}"), worker=worker)
        for one in pairs
        for worker in ("v", "w")
    ]
    told.append(replace(generated(pairs[0].query, "query", "x says this"), worker="x"))
    judge, negatives = TableJudge(), {one.pair_id: Negatives() for one in pairs}
    paired = pair_rationales(pairs, told, names={})
    rows = judged_by(judge, paired, JudgingConfig(against_shuffled=True), negatives=negatives)
    possible = {
        (worker, one.pair_id): {
            random.Random(repr((one.query.text, one.target.text, lent))).random()
            for lent in (f"{lender} on {other.query.text}" for lender in lenders for other in pairs)
            if not lent.endswith(one.query.text)
        }
        for worker, lenders in (("v", "v"), ("w", "w"), ("x", "vw"))
        for one in pairs
    }
    for row in rows.iter_rows(named=True):
        assert row["with_shuffled"] in possible[row["worker"], row["pair_id"]]


def test_without_shuffling_so_many_of_each_side_are_judged_beside_another_all_the_same():
    pairs = [pair(n) for n in range(9)]
    told = [generated(one.query, "query", f"on {one.query.text}") for one in pairs]
    told += [generated(one.target, "item", f"on {one.target.text}") for one in pairs]
    paired, negatives = (
        pair_rationales(pairs, told, names={}),
        {p.pair_id: Negatives() for p in pairs},
    )
    rows, all_rows, none = (
        judged_by(TableJudge(), paired, config, negatives=negatives).sort("pair_id", "side")
        for config in (
            JudgingConfig(num_controls=4),
            JudgingConfig(against_shuffled=True),
            JudgingConfig(num_controls=0),
        )
    )
    compared = rows.filter(pl.col("with_shuffled").is_not_null())
    assert compared["side"].value_counts(sort=True).rows() in (
        [("query", 4), ("item", 4)],
        [("item", 4), ("query", 4)],
    )
    both = compared.join(all_rows, on=("pair_id", "side"), validate="1:1")
    assert both["with_shuffled"].equals(both["with_shuffled_right"])
    assert none["with_shuffled"].is_null().all()


def test_a_single_content_is_judged_beside_no_other():
    told = [generated(PAIRS[0].query, "query", text) for text in ("r", "s")]
    rows = judged_by(TableJudge(), pair_rationales(PAIRS, told, names={}), JudgingConfig())
    assert rows["with_shuffled"].is_null().all()


def test_a_single_content_cannot_be_shuffled():
    told = [generated(PAIRS[0].query, "query", text) for text in ("r", "s")]
    with pytest.raises(ValueError, match="two contents"):
        judged_by(
            TableJudge(),
            pair_rationales(PAIRS, told, names={}),
            JudgingConfig(against_shuffled=True),
        )


def test_what_is_refused_is_not_shown_to_the_judge_even_if_it_says_what_another_says():
    fair = generated(PAIRS[0].query, "query", "r")
    copied = replace(fair, worker="x", flags=frozenset({"duplicate"}))
    judge = TableJudge()
    rows = judged_by(judge, pair_rationales(PAIRS, [fair, copied], names={}), JudgingConfig())
    assert rows["with"].is_null().to_list() == [False, True]
    assert rows["flags"].to_list() == [[], ["duplicate"]]
    all_in = JudgingConfig(refused=frozenset())
    rows = judged_by(TableJudge(), pair_rationales(PAIRS, [fair, copied], names={}), all_in)
    assert rows["with"].n_unique() == 1


def test_judgements_do_not_depend_on_the_order_of_pairs_and_candidates():
    told = [
        generated(one.query, "query", f"{text} {n}")
        for n, one in enumerate(PAIRS)
        for text in "rst"
    ]
    config = JudgingConfig(num_negatives=1, against_shuffled=True)
    one = judged_by(TableJudge(), pair_rationales(PAIRS, told, names={}), config)
    other = judged_by(TableJudge(), pair_rationales(PAIRS[::-1], told[::-1], names={}), config)
    assert one.sort("pair_id", "text").equals(other.sort("pair_id", "text"))


def test_a_run_that_ended_early_goes_on_where_it_stopped():
    pairs = [pair(n) for n in range(CHUNK + 5)]
    negatives = {one.pair_id: Negatives() for one in pairs}
    told = [generated(one.query, "query", f"on {one.query.text}") for one in pairs]
    paired = pair_rationales(pairs, told, names={})
    config = JudgingConfig(against_shuffled=True)
    kept = []
    down = TableJudge(down_after=1)
    with pytest.raises(ReasonerOutage):
        judge_rationales(paired, down, negatives, config, judged=NOTHING, append=kept.append)
    (half,) = kept
    judge = TableJudge()
    resumed = judged_by(judge, paired, config, negatives=negatives, before=half)
    at_once = judged_by(TableJudge(), paired, config, negatives=negatives)
    assert resumed.equals(at_once)
    assert {judge_input.query.text for judge_input in judge.judge_inputs} == {
        f"query {n}" for n in range(CHUNK, CHUNK + 5)
    }


def test_too_few_negatives_are_an_error_that_names_the_pair():
    told = generated(PAIRS[0].query, "query", "r")
    with pytest.raises(ValueError, match=r"3 negatives, got 2 for 'p000'"):
        judged_by(
            TableJudge(), pair_rationales(PAIRS, [told], names={}), JudgingConfig(num_negatives=3)
        )
