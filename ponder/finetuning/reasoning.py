"""The stages that bring rationales: what workers write, and what a judge keeps of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from catalog.atomic_file import write_atomically
from catalog.lake.tables import GENERATED_RATIONALES
from embedder.content import Side
from embedder.finetune.records import GeneratedRationale
from ponder.finetuning.negatives import hardened
from ponder.finetuning.run import Counts, Progress, Run
from ponder.wiring import other_reasoner

if TYPE_CHECKING:
    from embedder.finetune.rationales.workers import WorkerConfig

SIDES: tuple[Side, ...] = ("query", "item")
NUM_OTHERS = 64  # that a rationale must help to tell its partner from; docs/finetuning.md


def worker_configs(run: Run) -> "list[WorkerConfig]":
    """The base itself, drawing with several seeds, and the deployment's reasoner if it has one."""
    from embedder.reasoners.config import LocalConfig
    from embedder.version import read_manifest, resolve

    own = LocalConfig(
        model=run.base,
        device=run.settings.device,
        max_tokens=read_manifest(resolve(run.base)).max_new_tokens,
        temperature=run.config.temperature,
    )
    drawing = [replace(own, seed=run.config.seed + n) for n in range(run.config.num_drawn)]
    other = other_reasoner(run.settings)
    return [*drawing, *([] if other is None else [other])]


def write(run: Run, progress: Progress) -> Counts:
    """Stage `rationales`: every worker on every content of both sides, into the lake.

    Raises:
        ReasonerOutage: a worker answers nobody; what was written is kept.
    """
    from embedder.finetune.rationales.generate import contents_of, write_rationales
    from embedder.finetune.rationales.workers import open_workers

    lake, workers = run.lake, open_workers(worker_configs(run))

    def append(rows: pl.DataFrame) -> None:
        lake.insert_new(GENERATED_RATIONALES, rows)
        progress(len(rows))

    for side in SIDES:
        written = lake.read(GENERATED_RATIONALES)
        write_rationales(
            contents_of(run.pairs, side), side, workers, written=written, append=append
        )
    names = [f"{worker.name} {worker.prompt_version}" for worker in workers]
    return {"workers": names, "rationales": len(_written(run))}


def select(run: Run, progress: Progress) -> Counts:
    """Stage `selection`: which rationales help their pair, by the base's own judgement.

    Leaves `selected.parquet`, `selection.json` and `selection.html`.
    """
    from embedder.finetune.rationales.config import SelectionConfig
    from embedder.finetune.rationales.judging import JUDGED
    from embedder.finetune.rationales.selection import select as selected_of
    from ponder.reports.selection.page import write_selection
    from ponder.reports.selection.report import selection_report

    folder = run.folder / "selection"
    parts = folder / "judged"
    parts.mkdir(parents=True, exist_ok=True)
    judge = _judge(run, parts, progress)
    judged = pl.concat([JUDGED.to_frame(), *map(pl.read_parquet, sorted(parts.glob("*.parquet")))])
    config = SelectionConfig()
    selected = selected_of(judged.unique(maintain_order=True), config)
    selected.write_parquet(folder / "selected.parquet")
    report = selection_report(selected, run.pairs, judge=judge, min_gain=config.min_gain)
    write_selection(report, folder)
    return {"judge": judge, "min_gain": config.min_gain, "pairs": report["pairs"]}


def _written(run: Run) -> list[GeneratedRationale]:
    """What this run's workers wrote; the lake may hold others' too."""
    from embedder.finetune.rationales.filters import FilterConfig, flagged_rationales

    identities = [(one.name, one.prompt_version) for one in worker_configs(run)]
    own = pl.struct("worker", "prompt_version").is_in(
        [{"worker": worker, "prompt_version": version} for worker, version in identities]
    )
    return flagged_rationales(
        run.lake.scan(GENERATED_RATIONALES).filter(own).collect(), FilterConfig()
    )


def _judge(run: Run, parts: Path, progress: Progress) -> str:
    """Judges what is not judged yet, a source at a time as the base reads it; gives the judge."""
    from embedder.finetune.rationales.config import JudgingConfig
    from embedder.finetune.rationales.judges.self_judge import SelfJudge, SelfJudgeConfig
    from embedder.finetune.rationales.judging import JUDGED, judge_rationales
    from embedder.finetune.rationales.negatives import negatives_of
    from embedder.finetune.rationales.paired import pair_rationales

    base, pairs = run.load(run.base), hardened(run, "negatives")
    known = [JUDGED.to_frame(), *map(pl.read_parquet, sorted(parts.glob("*.parquet")))]
    judged = pl.concat(known)
    contrast_of = negatives_of(pairs, num_others=NUM_OTHERS, seed=run.config.seed)
    # A judge that compares cannot judge a pair that all others of its source answer.
    fair = [p for p in pairs if contrast_of[p.pair_id].items and contrast_of[p.pair_id].queries]
    paired = pair_rationales(fair, _written(run), names=_names(run.items))

    def append(rows: pl.DataFrame) -> None:
        path = parts / f"{len(list(parts.glob('*.parquet'))):06d}.parquet"
        write_atomically(path, rows.write_parquet)
        progress(rows["pair_id"].n_unique())

    for source in sorted({pair.source for pair in pairs}):
        reading = replace(base, manifest=base.manifest.for_source(source))
        judge_rationales(
            [paired for paired in paired if paired.pair.source == source],
            SelfJudge(reading, SelfJudgeConfig()),
            contrast_of,
            JudgingConfig(),
            judged=judged,
            append=append,
        )
    return SelfJudge(base, SelfJudgeConfig()).name


def _names(items: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """What identifies each item besides its title: its id and its brand."""
    brands = [json.loads(attributes).get("brand") for attributes in items["attributes"]]
    return {
        item_id: (item_id, *([str(brand)] if brand else []))
        for item_id, brand in zip(items["item_id"], brands, strict=True)
    }
