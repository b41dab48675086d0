"""What selection kept and what it dropped, by worker and source, with samples to read.

Where the worth of rationales is known (the bazaar's scripted writer), it is also said how well the
gain told right ones from faulty ones, and how well the leak flag found leaks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from embedder.finetune.data.pairs import Pair
from evaluation.metrics import auc
from ponder.reports.html.gallery import thumbnail_uri

IDENTITY = ("key", "side", "worker", "prompt_version")
GROUP = ("worker", "source", "side")
WHY = ("gains most", "kept by a hair", "dropped by a hair", "gains least")


@dataclass(frozen=True, kw_only=True, slots=True)
class PairCounts:
    """How many pairs there are, and which of their sides have a rationale that was kept."""

    all: int
    query_rationale: int
    item_rationale: int

    direct_only: int
    """Pairs without a kept rationale."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerCounts:
    """What became of one worker's rationales of one source and side."""

    worker: str
    source: str
    side: str
    paired: int

    refused: int
    """At first sight, for a flag."""

    failed: int
    """That the judge could not judge."""

    kept: int

    mean_gain: float | None
    """In nats, of what was judged; None where nothing was."""

    median_gain: float | None
    """In nats, of what was judged; None where nothing was."""

    compared: int
    """That were also judged beside a rationale about another content."""

    own_better: float | None
    """Share of these that does better than the other, ties as a half; None where there are none. A
    coin has 0.5: such rationales help by their looks, whatever they say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KindCounts:
    """What became of the rationales of one known kind."""

    paired: int
    refused: int
    kept: int

    mean_gain: float | None
    """In nats; None where nothing was judged."""

    auc_of_right: float | None
    """Chance that a right rationale gains more than one of this kind; None without both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionAndRecall:
    """How well something is found; None where it cannot be said."""

    precision: float | None
    recall: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownKinds:
    """How selection did where the worth of each rationale is known."""

    by_kind: dict[str, KindCounts]

    gains: dict[str, list[float]]
    """Kind -> sorted gains in nats."""

    kept: PrecisionAndRecall
    """Of the right rationales by what was kept."""

    leak_flag: PrecisionAndRecall
    """Of the leaks by the flag."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A rationale to read, with its pair."""

    why: str
    """Why it is shown: one of `WHY`."""

    worker: str
    side: str
    text: str
    summary: str

    gain: float
    """In nats."""

    weight: float | None
    """In training; None for what was dropped."""

    query: str
    target: str

    image: str | None
    """The target's, as a `data:` URI."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionReport:
    """What selection kept and what it dropped."""

    judge: str

    min_gain: float
    """In nats; what gains more is kept."""

    pairs: PairCounts
    workers: list[WorkerCounts]

    flags: dict[str, dict[str, int]]
    """Worker -> flag -> paired rationales that carry it."""

    gains: dict[str, list[float]]
    """Worker -> sorted gains in nats."""

    kinds: KnownKinds | None
    """None where the worth of the rationales is not known."""

    samples: list[Sample]


def selection_report(
    selected: pl.DataFrame,
    pairs: Sequence[Pair],
    *,
    judge: str,
    min_gain: float,
    kinds: pl.DataFrame | None = None,
) -> SelectionReport:
    """Return the numbers of a selection, with some rationales to read.

    Args:
        selected: from `embedder.finetune.rationales.selection.select`.
        pairs: that rationales were paired to.
        judge: name of the judge.
        min_gain: in nats, as it was selected with.
        kinds: for the scripted writer's rationales key, side, worker, prompt_version and `kind`.
    """
    rows = selected.with_columns(
        is_judged=pl.col("gain").is_not_null() & pl.col("gain").is_not_nan(),
        over_shuffled=(pl.col("with") - pl.col("with_shuffled")).fill_nan(None),
    )
    return SelectionReport(
        judge=judge,
        min_gain=min_gain,
        pairs=_pairs(rows, pairs),
        workers=_workers(rows),
        flags=_flags(rows),
        gains=_gains(rows, "worker"),
        kinds=None if kinds is None else _kinds(rows.join(kinds, on=IDENTITY)),
        samples=_samples(rows, {pair.pair_id: pair for pair in pairs}),
    )


def _pairs(rows: pl.DataFrame, pairs: Sequence[Pair]) -> PairCounts:
    kept = rows.filter("kept")
    with_rationale = {
        side: kept.filter(pl.col("side") == side)["pair_id"].n_unique()
        for side in ("query", "item")
    }
    return PairCounts(
        all=len(pairs),
        query_rationale=with_rationale["query"],
        item_rationale=with_rationale["item"],
        direct_only=len(pairs) - kept["pair_id"].n_unique(),
    )


def _workers(rows: pl.DataFrame) -> list[WorkerCounts]:
    counts = (
        rows.group_by(GROUP)
        .agg(
            paired=pl.len(),
            refused=pl.col("gain").is_null().sum(),
            failed=pl.col("gain").is_nan().sum(),
            kept=pl.col("kept").sum(),
            mean_gain=pl.col("gain").filter("is_judged").mean(),
            median_gain=pl.col("gain").filter("is_judged").median(),
            compared=pl.col("over_shuffled").count(),
            own_better=((pl.col("over_shuffled").sign() + 1) / 2).mean(),
        )
        .sort(GROUP)
    )
    return [WorkerCounts(**row) for row in counts.iter_rows(named=True)]


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


def _kinds(rows: pl.DataFrame) -> KnownKinds:
    gains = _gains(rows, "kind")
    right = gains.get("right", [])
    by_kind = {
        str(kind): KindCounts(
            paired=frame.height,
            refused=frame["gain"].null_count(),
            kept=int(frame["kept"].sum()),
            mean_gain=float(np.mean(gains[kind])) if kind in gains else None,
            auc_of_right=_auc(right, gains.get(kind, [])),
        )
        for (kind,), frame in rows.sort("kind").group_by("kind", maintain_order=True)
    }
    is_right, is_leak = (pl.col("kind") == kind for kind in ("right", "leak"))
    is_flagged = pl.col("flags").list.contains("leak")
    return KnownKinds(
        by_kind=by_kind,
        gains=gains,
        kept=_precision_and_recall(rows, is_right, pl.col("kept")),
        leak_flag=_precision_and_recall(rows, is_leak, is_flagged),
    )


def _auc(right: Sequence[float], other: Sequence[float]) -> float | None:
    """Chance that a right rationale gains more; None without both."""
    if not right or not other:
        return None
    relevance = np.repeat([1, 0], [len(right), len(other)])
    return auc(relevance, np.array([*right, *other]))


def _precision_and_recall(
    rows: pl.DataFrame, is_true: pl.Expr, is_found: pl.Expr
) -> PrecisionAndRecall:
    found, true = rows.filter(is_found).height, rows.filter(is_true).height
    both = rows.filter(is_true & is_found).height
    return PrecisionAndRecall(
        precision=both / found if found else None, recall=both / true if true else None
    )


def _samples(rows: pl.DataFrame, pairs: Mapping[str, Pair]) -> list[Sample]:
    """Of each worker: what gained most, what was kept and what was dropped by a hair, the worst."""
    order = ("gain", "pair_id", "text")
    judged = rows.filter("is_judged")
    shown = []
    for _, frame in judged.sort(order).group_by("worker"):
        kept, dropped = frame.filter("kept"), frame.filter(~pl.col("kept"))
        picked = (kept.tail(1), kept.head(1), dropped.tail(1), dropped.head(1))
        for why, row in zip(WHY, picked, strict=True):
            shown += [_sample(why, values, pairs) for values in row.to_dicts()]
    return sorted(shown, key=lambda sample: (sample.worker, WHY.index(sample.why)))


def _sample(why: str, row: Mapping[str, Any], pairs: Mapping[str, Pair]) -> Sample:
    pair = pairs[row["pair_id"]]
    told = {name: row[name] for name in ("worker", "side", "text", "summary", "gain", "weight")}
    return Sample(
        why=why,
        **told,
        query=pair.query.text,
        target=pair.target.text,
        image=None if pair.target.image is None else thumbnail_uri(pair.target.image),
    )
