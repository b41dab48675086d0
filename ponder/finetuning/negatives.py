"""The stages that mine hard negatives: as the base sees them, and again as the joint model does.

What is hard for one state of the model no longer is for the next. A stage leaves
`negatives.parquet`, a row for every hard negative of a pair, the hardest first:

    pair_id
    key      of the contents; not one of those that answer the pair's query
    item_id  of an item that the data named; null: the target of the same source with this key
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ponder.finetuning import given
from ponder.finetuning.results import MinedNegatives
from ponder.finetuning.run import Progress, Run

if TYPE_CHECKING:
    from embedder.finetune.data.pairs import Pair
    from embedder.mmemb_r1 import MMEmbR1

SCHEMA = pl.Schema([("pair_id", pl.String()), ("key", pl.String()), ("item_id", pl.String())])


def mine(run: Run, progress: Progress) -> MinedNegatives:
    """Mine hard negatives with the base, for the judge and for joint training: stage `negatives`.

    Where the data bring hard negatives, these are taken and none are mined.
    """
    rows = given.read_hard_negatives(run.data_folder)
    if rows.is_empty():
        return _mine(run, "negatives", run.base, progress)
    unknown = rows.filter(~pl.col("item_id").is_in(list(run.contents)))
    if len(unknown):
        raise ValueError(
            f"a hard negative must name an item that can be read, got {unknown['item_id'][0]!r} "
            f"for {unknown['pair_id'][0]!r}"
        )
    _keep(run, "negatives", rows.select(SCHEMA.names()))
    progress(len(rows))
    return MinedNegatives(given=len(rows))


def mine_again(run: Run, progress: Progress) -> MinedNegatives:
    """Mine with the joint model, for the replay in the gate's training: stage `fresh_negatives`.

    The gate's rewards need none: they hold an embedding against all candidates.
    """
    if run.config.gate is None or not run.config.negatives.trains:
        return MinedNegatives()
    return _mine(run, "fresh_negatives", run.version("joint"), progress)


def hardened(run: Run, stage: str) -> "list[Pair]":
    """Return the pairs with the negatives that a stage left; as they are where it left none."""
    from embedder.finetune.data.pairs import Negative

    path = run.folder / stage / "negatives.parquet"
    if not path.exists():
        return run.pairs
    targets = {(pair.source, pair.target_key): pair.target for pair in run.pairs}
    hard: dict[str, list[tuple[str, str | None]]] = {}
    for pair_id, key, item_id in pl.read_parquet(path).iter_rows():
        hard.setdefault(pair_id, []).append((key, item_id))
    return [
        replace(
            pair,
            negatives=tuple(
                Negative(
                    targets[pair.source, key] if item_id is None else run.contents[item_id], key
                )
                for key, item_id in hard.get(pair.pair_id, ())
            ),
        )
        for pair in run.pairs
    ]


def encoders_by_source(run: Run, model: str | Path) -> Callable[[str], "MMEmbR1"]:
    """Return what makes a model's encoder as it reads a source, by the source's name."""
    from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1

    checkpoint = run.load(model)
    config = EmbedderConfig(device=run.settings.device)

    def encoder_of(source: str) -> MMEmbR1:
        return MMEmbR1(replace(checkpoint, manifest=checkpoint.manifest.for_source(source)), config)

    return encoder_of


def _mine(run: Run, stage: str, model: str | Path, progress: Progress) -> MinedNegatives:
    from embedder.finetune.data.hard_negatives import with_hard_negatives

    if not run.config.negatives.num_mined:
        return MinedNegatives()
    found, report = with_hard_negatives(
        run.pairs,
        encoders_by_source(run, model),
        num_negatives=run.config.negatives.num_mined,
    )
    rows = [(pair.pair_id, one.key, None) for pair in found for one in pair.negatives]
    progress(len(found))
    _keep(run, stage, pl.DataFrame(rows, schema=SCHEMA, orient="row"))
    return MinedNegatives(sources=tuple(report.to_dicts()))


def _keep(run: Run, stage: str, rows: pl.DataFrame) -> None:
    (run.folder / stage).mkdir(exist_ok=True)
    rows.write_parquet(run.folder / stage / "negatives.parquet")
