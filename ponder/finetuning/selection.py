"""The stages that judge rationales on their pairs, and keep those that help."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import polars as pl

from ponder.finetuning.judges import open_judge
from ponder.finetuning.negatives import hardened
from ponder.finetuning.rationales import written_rationales
from ponder.finetuning.results import JudgedRationales, SelectedRationales
from ponder.finetuning.run import Progress, Run

if TYPE_CHECKING:
    from embedder.finetune.rationales.negatives import Negatives
    from embedder.finetune.rationales.paired import PairedRationale
    from ponder.reports.selection.report import WorkerCounts

logger = logging.getLogger(__name__)

NEAR_A_COIN = 0.6
"""A smaller share that does better than a rationale about another content is worth a warning."""


def judge(run: Run, progress: Progress) -> JudgedRationales:
    """Judge every rationale on every pair that it could serve: stage `judging`.

    It leaves `judged/*.parquet`, rows of `embedder.finetune.rationales.judging.JUDGED`. A selection
    that keeps all needs no judge, and none is asked.

    Raises:
        ReasonerOutage: the judge answers nobody; what was judged is kept.
    """
    from embedder.finetune.rationales.judging import unjudged
    from embedder.finetune.rationales.negatives import negatives_of

    (run.folder / "judging" / "judged").mkdir(parents=True, exist_ok=True)
    pairs = hardened(run, "negatives")
    if run.config.selection.keeps == "all":
        paired = _paired(run, [pair.pair_id for pair in pairs])
        _append(run, unjudged(paired), progress)
        return JudgedRationales(judge="", rationales=len(paired))
    negatives = negatives_of(pairs, num_others=run.config.judging.num_others, seed=run.config.seed)
    paired = _paired(run, _fair(run, negatives))
    name = _judge(run, paired, negatives, progress)
    return JudgedRationales(judge=name, rationales=len(paired))


def select(run: Run, progress: Progress) -> SelectedRationales:
    """Keep the rationales that help their pair, by what was judged: stage `selection`.

    It leaves `selected.parquet`, `selection.json` and `selection.html`.
    """
    from embedder.finetune.rationales.selection import select as selected_of
    from ponder.reports.selection.page import write_selection
    from ponder.reports.selection.report import selection_report

    folder, config = run.folder / "selection", run.config.selection
    folder.mkdir(parents=True, exist_ok=True)
    selected = selected_of(
        _judged(run).unique(maintain_order=True),
        config,
        against_shuffled=run.config.judging.against_shuffled,
    )
    selected.write_parquet(folder / "selected.parquet")
    name = run.result("judging", JudgedRationales).judge
    report = selection_report(selected, run.pairs, judge=name, min_gain=config.min_gain)
    write_selection(report, folder)
    for counts in report.workers:
        _warn_of_looks(counts)
    progress(len(selected))
    return SelectedRationales(judge=name, min_gain=config.min_gain, pairs=asdict(report.pairs))


def _judge(
    run: Run,
    paired: "list[PairedRationale]",
    negatives: Mapping[str, "Negatives"],
    progress: Progress,
) -> str:
    """Judge what is not judged yet, a source at a time as the base reads it; return the judge."""
    from embedder.finetune.rationales.judging import judge_rationales

    judge_of, judged = open_judge(run), _judged(run)
    for source in sorted({one.pair.source for one in paired}):
        judge_rationales(
            [one for one in paired if one.pair.source == source],
            judge_of(source),
            negatives,
            run.config.judging,
            judged=judged,
            append=lambda rows: _append(run, rows, progress),
        )
    return judge_of("").name


def _warn_of_looks(counts: "WorkerCounts") -> None:
    if counts.own_better is not None and counts.own_better < NEAR_A_COIN:
        logger.warning(
            "rationales of %s (%s side) should do better than ones about other contents, got %.0f "
            "%% of %d that do, and a coin has 50 %%: what they say hardly counts; read some in "
            "selection.html, and ask a better writer or none (rationales.num_drawn=0)",
            counts.worker,
            counts.side,
            100 * counts.own_better,
            counts.compared,
        )


def _fair(run: Run, negatives: Mapping[str, "Negatives"]) -> list[str]:
    """Return ids of the pairs that can be judged: that not nearly all of their source answer."""
    needed, sides = max(1, run.config.judging.num_negatives), run.config.rationales.sides
    return [
        pair_id
        for pair_id, own in negatives.items()
        if ("query" not in sides or len(own.items) >= needed)
        and ("item" not in sides or len(own.queries) >= needed)
    ]


def _paired(run: Run, pair_ids: list[str]) -> "list[PairedRationale]":
    from embedder.finetune.rationales.paired import pair_rationales

    chosen = set(pair_ids)
    return pair_rationales(
        [pair for pair in hardened(run, "negatives") if pair.pair_id in chosen],
        written_rationales(run),
        names=_names(run),
        sides=run.config.rationales.sides,
    )


def _judged(run: Run) -> pl.DataFrame:
    from embedder.finetune.rationales.judging import JUDGED

    parts = sorted((run.folder / "judging" / "judged").glob("*.parquet"))
    return pl.concat([JUDGED.to_frame(), *map(pl.read_parquet, parts)])


def _append(run: Run, rows: pl.DataFrame, progress: Progress) -> None:
    from catalog.atomic_file import write_atomically

    folder = run.folder / "judging" / "judged"
    path = folder / f"{len(list(folder.glob('*.parquet'))):06d}.parquet"
    write_atomically(path, rows.write_parquet)
    progress(rows["pair_id"].n_unique())


def _names(run: Run) -> dict[str, set[str]]:
    """Return by query_key and target_key what identifies an item beside its title: id, brand."""
    brands = {
        item_id: json.loads(attributes).get("brand")
        for item_id, attributes in run.items.select("item_id", "attributes").iter_rows()
    }
    names: dict[str, set[str]] = {}
    rows = pl.read_parquet(run.folder / "pairs" / "pairs.parquet")
    for key, item_id in (
        *rows.select("target_key", "target_item").iter_rows(),
        *rows.drop_nulls("query_item").select("query_key", "query_item").iter_rows(),
    ):
        brand = brands.get(item_id)
        names.setdefault(key, set()).update((item_id, *([str(brand)] if brand else [])))
    return names
