"""The stages that mine hard negatives: as the base sees them, and again as the joint model does.

What is hard for one state of the model no longer is for the next. A stage leaves
`negatives.parquet`: pair_id, and the keys of its query's hard negatives, which are targets of the
same source.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ponder.finetuning.run import Counts, Progress, Run

if TYPE_CHECKING:
    from embedder.finetune.data.pairs import Pair

SCHEMA = pl.Schema([("pair_id", pl.String()), ("keys", pl.List(pl.String))])


def mine(run: Run, progress: Progress) -> Counts:
    """Stage `negatives`: for selection and joint training, mined with the base."""
    return _mine(run, "negatives", run.base, progress)


def mine_again(run: Run, progress: Progress) -> Counts:
    """Stage `fresh_negatives`: for the replay in the gate's training, mined with the joint model.

    The gate's rewards need none: they hold an embedding against all candidates.
    """
    if not run.config.gate_steps:
        return {}
    return _mine(run, "fresh_negatives", run.version("joint"), progress)


def hardened(run: Run, stage: str) -> "list[Pair]":
    """The pairs with the negatives that a stage mined; as they are where it mined none."""
    from embedder.finetune.data.pairs import Negative

    path = run.folder / stage / "negatives.parquet"
    if not path.exists():
        return run.pairs
    targets = {(pair.source, pair.target_key): pair.target for pair in run.pairs}
    hard = dict(pl.read_parquet(path).iter_rows())
    return [
        replace(
            pair,
            negatives=tuple(Negative(targets[pair.source, key], key) for key in hard[pair.pair_id]),
        )
        for pair in run.pairs
    ]


def _mine(run: Run, stage: str, model: str | Path, progress: Progress) -> Counts:
    from embedder.finetune.data.hard_negatives import with_hard_negatives
    from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1

    if not run.config.num_negatives:
        return {}
    checkpoint = run.load(model)
    config = EmbedderConfig(device=run.settings.device)

    def encoder_of(source: str) -> MMEmbR1:
        return MMEmbR1(replace(checkpoint, manifest=checkpoint.manifest.for_source(source)), config)

    found, report = with_hard_negatives(
        run.pairs, encoder_of, num_negatives=run.config.num_negatives
    )
    rows = [(pair.pair_id, [negative.key for negative in pair.negatives]) for pair in found]
    progress(len(rows))
    (run.folder / stage).mkdir(exist_ok=True)
    pl.DataFrame(rows, schema=SCHEMA, orient="row").write_parquet(
        run.folder / stage / "negatives.parquet"
    )
    return {"sources": report.to_dicts()}
