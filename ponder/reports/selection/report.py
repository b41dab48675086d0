"""What selection kept and what it dropped, by worker and source, with samples to read.

Where the worth of rationales is known (the bazaar's scripted writer), it is also said how well the
gain told right ones from faulty ones, and how well the leak flag found leaks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from embedder.finetune.data.pairs import Pair
from evaluation.metrics import auc
from ponder.reports.html.gallery import thumbnail

IDENTITY = ("key", "side", "worker", "prompt_version")
GROUP = ("worker", "source", "side")
WHY = ("gains most", "kept by a hair", "dropped by a hair", "gains least")


def selection_report(
    selected: pl.DataFrame,
    pairs: Sequence[Pair],
    *,
    judge: str,
    min_gain: float,
    kinds: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """The numbers of a selection, as JSON knows them; what is not known is null.

    Args:
        selected: from `embedder.finetune.rationales.selection.select`.
        pairs: that rationales were paired to.
        judge: name of the judge.
        min_gain: in nats, as it was selected with.
        kinds: for the scripted writer's rationales key, side, worker, prompt_version and `kind`.
    """
    rows = selected.with_columns(
        is_judged=pl.col("gain").is_not_null() & pl.col("gain").is_not_nan()
    )
    return {
        "judge": judge,
        "min_gain": min_gain,
        "pairs": _pairs(rows, pairs),
        "workers": _workers(rows),
        "flags": _flags(rows),
        "gains": _gains(rows, "worker"),
        "kinds": None if kinds is None else _kinds(rows.join(kinds, on=IDENTITY)),
        "samples": _samples(rows, {pair.pair_id: pair for pair in pairs}),
    }


def _pairs(rows: pl.DataFrame, pairs: Sequence[Pair]) -> dict[str, int]:
    kept = rows.filter("kept")
    with_rationale = {
        side: kept.filter(pl.col("side") == side)["pair_id"].n_unique()
        for side in ("query", "item")
    }
    return {
        "all": len(pairs),
        "query_rationale": with_rationale["query"],
        "item_rationale": with_rationale["item"],
        "direct_only": len(pairs) - kept["pair_id"].n_unique(),
    }


def _workers(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """For each worker, source and side: what became of its rationales."""
    return (
        rows.group_by(GROUP)
        .agg(
            paired=pl.len(),
            refused=pl.col("gain").is_null().sum(),
            failed=pl.col("gain").is_nan().sum(),
            kept=pl.col("kept").sum(),
            mean_gain=pl.col("gain").filter("is_judged").mean(),
            median_gain=pl.col("gain").filter("is_judged").median(),
        )
        .sort(GROUP)
        .to_dicts()
    )


def _flags(rows: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Worker -> flag -> paired rationales that carry it."""
    counts = (
        rows.select("worker", flag="flags")
        .filter(pl.col("flag").list.len() > 0)
        .explode("flag")
        .group_by("worker", "flag")
        .len()
        .sort("worker", "flag")
    )
    flags: dict[str, dict[str, int]] = {}
    for worker, flag, count in counts.iter_rows():
        flags.setdefault(worker, {})[flag] = count
    return flags


def _gains(rows: pl.DataFrame, group: str) -> dict[str, list[float]]:
    """Sorted gains by worker or kind, of what was judged."""
    judged = rows.filter("is_judged").sort(group, "gain")
    return {
        str(name): frame["gain"].to_list()
        for (name,), frame in judged.group_by(group, maintain_order=True)
    }


def _kinds(rows: pl.DataFrame) -> dict[str, Any]:
    gains = _gains(rows, "kind")
    right = gains.get("right", [])
    by_kind = {
        kind: {
            "paired": frame.height,
            "refused": frame["gain"].null_count(),
            "kept": int(frame["kept"].sum()),
            "mean_gain": float(np.mean(gains[kind])) if kind in gains else None,
            "auc_of_right": _auc(right, gains.get(kind, [])),
        }
        for (kind,), frame in rows.sort("kind").group_by("kind", maintain_order=True)
    }
    is_right, is_leak = (pl.col("kind") == kind for kind in ("right", "leak"))
    is_flagged = pl.col("flags").list.contains("leak")
    return {
        "by_kind": by_kind,
        "gains": gains,
        "kept": _precision_and_recall(rows, is_right, pl.col("kept")),
        "leak_flag": _precision_and_recall(rows, is_leak, is_flagged),
    }


def _auc(right: Sequence[float], other: Sequence[float]) -> float | None:
    """Chance that a right rationale gains more; None without both."""
    if not right or not other:
        return None
    relevance = np.repeat([1, 0], [len(right), len(other)])
    return auc(relevance, np.array([*right, *other]))


def _precision_and_recall(
    rows: pl.DataFrame, is_true: pl.Expr, is_found: pl.Expr
) -> dict[str, float | None]:
    found, true = rows.filter(is_found).height, rows.filter(is_true).height
    both = rows.filter(is_true & is_found).height
    return {
        "precision": both / found if found else None,
        "recall": both / true if true else None,
    }


def _samples(rows: pl.DataFrame, pairs: Mapping[str, Pair]) -> list[dict[str, Any]]:
    """Of each worker: what gained most, what was kept and what was dropped by a hair, the worst."""
    order = ("gain", "pair_id", "text")
    judged = rows.filter("is_judged")
    shown = []
    for _, frame in judged.sort(order).group_by("worker"):
        kept, dropped = frame.filter("kept"), frame.filter(~pl.col("kept"))
        picked = (kept.tail(1), kept.head(1), dropped.tail(1), dropped.head(1))
        for why, row in zip(WHY, picked, strict=True):
            shown += [_sample(why, values, pairs) for values in row.to_dicts()]
    return sorted(shown, key=lambda sample: (sample["worker"], WHY.index(sample["why"])))


def _sample(why: str, row: Mapping[str, Any], pairs: Mapping[str, Pair]) -> dict[str, Any]:
    pair = pairs[row["pair_id"]]
    told = {name: row[name] for name in ("worker", "side", "text", "summary", "gain", "weight")}
    return {
        "why": why,
        **told,
        "query": pair.query.text,
        "target": pair.target.text,
        "image": None if pair.target.image is None else thumbnail(pair.target.image),
    }
