"""The stage that brings rationales: what workers write, each seeing one content at a time."""

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from catalog.lake.tables import GENERATED_RATIONALES
from embedder.finetune.records import GeneratedRationale
from ponder.finetuning import given
from ponder.finetuning.results import WrittenRationales
from ponder.finetuning.run import Progress, Run
from ponder.wiring.encoder import other_reasoner

if TYPE_CHECKING:
    from embedder.finetune.rationales.generate import ScriptedWorker
    from embedder.finetune.rationales.workers import WorkerConfig


def write(run: Run, progress: Progress) -> WrittenRationales:
    """Ask every worker about every content of the sides that are reasoned about.

    Rationales go to the lake: stage `rationales`.

    Raises:
        ReasonerOutage: a worker answers nobody; what was written is kept.
    """
    from embedder.finetune.rationales.generate import contents_of, write_rationales
    from embedder.finetune.rationales.workers import open_workers

    lake, given_workers, workers = run.lake, _given_workers(run), open_workers(worker_configs(run))

    def append(rows: pl.DataFrame) -> None:
        lake.insert_new(GENERATED_RATIONALES, rows)
        progress(len(rows))

    for side in run.config.rationales.sides:
        written, contents = lake.read(GENERATED_RATIONALES), contents_of(run.pairs, side)
        # Those that the data bring are there at once, and need one commit.
        brought: list[pl.DataFrame] = [GENERATED_RATIONALES.empty()]
        write_rationales(contents, side, given_workers, written=written, append=brought.append)
        append(pl.concat(brought))
        write_rationales(contents, side, workers, written=written, append=append)
    names = tuple(f"{one.name} {one.prompt_version}" for one in (*given_workers, *workers))
    return WrittenRationales(workers=names, rationales=len(written_rationales(run)))


def worker_configs(run: Run) -> "list[WorkerConfig]":
    """Return the base itself, drawing with several seeds, and the deployment's reasoner if any."""
    from embedder.reasoners.config import LocalConfig
    from embedder.version import read_manifest, resolve

    config, drawing = run.config.rationales, []
    if config.num_drawn:  # else it need not be one that writes
        own = LocalConfig(
            model=run.base,
            device=run.settings.device,
            max_tokens=read_manifest(resolve(run.base)).max_new_tokens,
            temperature=config.temperature,
        )
        drawing = [replace(own, seed=run.config.seed + n) for n in range(config.num_drawn)]
    other = other_reasoner(run.settings) if config.sides else None
    return [*drawing, *([] if other is None else [other])]


def written_rationales(run: Run) -> list[GeneratedRationale]:
    """Return what this run's workers wrote, flagged; the lake may hold others' too."""
    from embedder.finetune.rationales.filters import FilterConfig, flagged_rationales

    workers = [*_given_workers(run), *worker_configs(run)]
    own = pl.struct("worker", "prompt_version").is_in(
        [{"worker": one.name, "prompt_version": one.prompt_version} for one in workers]
    )
    rows = run.lake.scan(GENERATED_RATIONALES).filter(own).collect() if workers else None
    if rows is None:
        rows = GENERATED_RATIONALES.empty()
    return flagged_rationales(rows, FilterConfig())


def _given_workers(run: Run) -> "list[ScriptedWorker]":
    return given.read_workers(run.data_folder, run.contents)
