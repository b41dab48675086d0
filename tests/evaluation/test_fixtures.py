"""Every value in the ranking fixtures whose metric we have: trec_eval, ranx and LightGBM.

Left out: by name in `NOT_OURS`, measures that nothing here asks for, and those over whole result
sets; and scikit-learn's, which gives tied candidates the mean of their gains. Two rules differ on
purpose: LightGBM's means count a query without relevant items as 1, and trec_eval means over `edge`
would drop the query missing in the run.
"""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from evaluation import metrics
from evaluation.rankings import Rankings

FIXTURES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "ranking_fixtures"
pytestmark = pytest.mark.skipif(
    not FIXTURES.exists(), reason="the ranking fixtures are not beside this checkout"
)

CUT = {
    "ndcg": metrics.ndcg,
    "recall": metrics.recall,
    "success": metrics.hit,
    "recip_rank": metrics.reciprocal_rank,
}
WHOLE = {"num_rel": metrics.num_relevant, "num_ret": metrics.num_retrieved}
TREC_CUT = {"ndcg_cut": "ndcg", "recall": "recall", "success": "success"}
NOT_OURS = [
    "11pt_avg",
    "G",
    "P",
    "Rndcg",
    "Rprec",
    "Rprec_mult",
    "binG",
    "bpref",
    "gm_bpref",
    "gm_map",
    "infAP",
    "iprec_at_recall",
    "map",
    "map_cut",
    "ndcg_rel",
    "num_nonrel_judged_ret",
    "num_q",
    "num_rel_ret",
    "precision",
    "rbp",
    "rbp.95",
    "rbp_resid",
    "relative_P",
    "set_F",
    "set_P",
    "set_map",
    "set_recall",
    "set_relative_P",
    "unj",
    "utility",
]


def plain(metric, k):
    """Metric and cut-off, with trec_eval's `ndcg_cut_10` read as ndcg, 10."""
    stem, _, cut = metric.rpartition("_")
    if stem in TREC_CUT and cut.isdigit():
        return TREC_CUT[stem], int(cut)
    return metric, k


def function_of(metric, k, gain):
    options = {"gain": gain or "linear"} if metric == "ndcg" else {}
    if metric in WHOLE:
        return WHOLE[metric]
    return partial(CUT[metric], k=k, **options)


@pytest.fixture(scope="module")
def rankings_of():
    qrels = pl.read_parquet(FIXTURES / "qrels.parquet").rename(
        {"doc": "item_id", "rel": "relevance"}
    )
    runs = pl.read_parquet(FIXTURES / "runs.parquet").rename({"doc": "item_id"})
    return {
        run: Rankings.of(
            runs.filter(pl.col("run") == run).drop("run"),
            qrels.filter(pl.col("qrels") == run.split("/")[0]).drop("qrels"),
            group="qid",
        )
        for run in runs["run"].unique()
    }


def expected():
    rows = pl.read_parquet(FIXTURES / "expected.parquet")
    ours = [name for name in rows["metric"].unique() if plain(name, None)[0] in CUT | WHOLE]
    return rows, rows.filter(pl.col("metric").is_in(ours) & (pl.col("ties") != "averaged"))


def test_every_value_of_every_tool(rankings_of):
    _, ours = expected()
    wrong = []
    keys = ["run", "metric", "k", "gain", "ties"]
    for (run, metric, k, gain, ties), rows in ours.group_by(keys):
        name, cut = plain(metric, k)
        per_group = function_of(name, cut, gain)(rankings_of[run])
        mean = per_group.sum() if name.startswith("num_") else per_group.mean()
        if ties.startswith("lightgbm"):
            mean += np.mean(metrics.num_relevant(rankings_of[run]) == 0)  # each is a 1 to them
        got = dict(zip(rankings_of[run].groups, per_group, strict=True)) | {"all": mean}
        for row in rows.iter_rows(named=True):
            tolerance = 5.1e-5 if "fixture" in row["tool"] else 1e-9
            if abs(got[row["qid"]] - row["value"]) > tolerance:
                wrong.append((row, got[row["qid"]]))
    assert wrong == []


def test_nothing_is_left_out_but_what_is_named():
    rows, ours = expected()
    left = rows.join(ours.select("metric").unique(), on="metric", how="anti")["metric"].unique()
    stems = {
        name for name in left if not any(name == n or name.startswith(n + "_") for n in NOT_OURS)
    }
    assert stems == set()
    averaged = rows.filter((pl.col("ties") == "averaged") & ~pl.col("metric").is_in(left.implode()))
    named = rows.filter(pl.col("metric").is_in(left.implode()))
    assert len(rows) == 9432 == len(ours) + len(named) + len(averaged)
    assert set(averaged["tool"].unique()) == {"scikit-learn 1.9.1"}
