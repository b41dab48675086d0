"""Tests for the selection's report and page: counts by hand, one page."""

import json
import math
import re
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest

from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.finetune.rationales.config import SelectionConfig
from embedder.finetune.rationales.judging import JUDGED
from embedder.finetune.rationales.selection import select
from ponder.reports.selection.figure import gain_histogram
from ponder.reports.selection.page import write_selection
from ponder.reports.selection.report import selection_report

PAIRS = [
    Pair(Content(f"query {n} <b>"), Content(f"target {n}"), f"q{n}", f"t{n}", f"p{n}", "clicks")
    for n in range(3)
]
# worker, pair, kind, gain (None: refused, NaN: the judge failed), flags
OFFERS = [
    ("a", 0, "right", 2.0, []),
    ("a", 1, "wrong", -1.0, []),
    ("a", 2, "leak", None, ["leak"]),
    ("b", 0, "wrong", 1.0, []),
    ("b", 1, "right", 0.5, []),
    ("b", 2, "right", math.nan, ["leak", "too_long"]),
]
# By worker and pair: the log-odds with another's rationale; without any they are 0.
SHUFFLED = {("a", 0): 1.5, ("a", 1): -0.5, ("b", 1): 0.5, ("b", 2): 0.0}


@pytest.fixture(scope="module")
def report():
    rows = [
        (
            *(f"p{n}", "clicks", "query", f"k{n}", worker, "1", f"{kind} <i>", "s", 3, flags),
            *(None if gain is None else 0.0, gain, SHUFFLED.get((worker, n)), None),
        )
        for worker, n, kind, gain, flags in OFFERS
    ]
    judged = pl.DataFrame(rows, schema=JUDGED, orient="row")
    kinds = pl.DataFrame(
        [(f"k{n}", "query", worker, "1", kind) for worker, n, kind, _, _ in OFFERS],
        schema=["key", "side", "worker", "prompt_version", "kind"],
        orient="row",
    )
    selected = select(judged, SelectionConfig())
    return selection_report(selected, PAIRS, judge="table", min_gain=0.0, kinds=kinds)


def test_pairs_and_workers_are_counted(report):
    assert asdict(report.pairs) == {
        "all": 3,
        "query_rationale": 2,
        "item_rationale": 0,
        "direct_only": 1,
    }
    same = {"source": "clicks", "side": "query", "paired": 3}
    counts_a = {"refused": 1, "failed": 0, "kept": 1, "mean_gain": 0.5, "median_gain": 0.5}
    counts_b = {"refused": 0, "failed": 1, "kept": 2, "mean_gain": 0.75, "median_gain": 0.75}
    # One of two does better; of the other worker one is as good, and one was not judged.
    counts_a |= {"compared": 2, "own_better": 0.5}
    counts_b |= {"compared": 1, "own_better": 0.5}
    assert [asdict(each) for each in report.workers] == [
        {"worker": "a"} | same | counts_a,
        {"worker": "b"} | same | counts_b,
    ]
    assert report.flags == {"a": {"leak": 1}, "b": {"leak": 1, "too_long": 1}}
    assert report.gains == {"a": [-1.0, 2.0], "b": [0.5, 1.0]}


def test_known_kinds_give_precision_recall_and_auc(report):
    kinds = report.kinds
    assert asdict(kinds.kept) == {"precision": 2 / 3, "recall": 2 / 3}
    assert asdict(kinds.leak_flag) == {"precision": 1 / 2, "recall": 1.0}
    # Right gains 2.0 and 0.5, wrong -1.0 and 1.0: three of four comparisons are won.
    assert kinds.by_kind["wrong"].auc_of_right == 3 / 4
    assert asdict(kinds.by_kind["leak"]) == {
        "paired": 1,
        "refused": 1,
        "kept": 0,
        "mean_gain": None,
        "auc_of_right": None,
    }


def test_samples_are_the_ends_and_the_ones_at_the_threshold(report):
    told = [(s.worker, s.why, s.gain) for s in report.samples]
    assert told == [
        ("a", "gains most", 2.0),
        ("a", "kept by a hair", 2.0),
        ("a", "dropped by a hair", -1.0),
        ("a", "gains least", -1.0),
        ("b", "gains most", 1.0),
        ("b", "kept by a hair", 0.5),
    ]


def test_the_page_escapes_strangers_words_and_the_json_is_the_report(report, tmp_path):
    page = write_selection(report, tmp_path / "new").read_text()
    assert json.loads((tmp_path / "new" / "selection.json").read_text()) == asdict(report)
    assert "query 0 &lt;b&gt;" in page
    assert "wrong &lt;i&gt;" in page
    assert page.count("<svg") == 2
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_a_selection_of_nothing_has_a_page_too(tmp_path):
    nothing = select(JUDGED.to_frame(), SelectionConfig())
    report = selection_report(nothing, PAIRS, judge="table", min_gain=0.0)
    assert report.pairs.direct_only == 3
    assert "Nothing was judged" in write_selection(report, tmp_path).read_text()


def test_the_figure_counts_what_gains_more_than_the_threshold_and_not_as_much():
    svg = gain_histogram({"w": np.array([-1.0, 0.0, 0.5, 7.0])}, min_gain=0.0)
    assert "2 of 4" in svg
