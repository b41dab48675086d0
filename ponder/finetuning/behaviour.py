"""The behaviour space of a version: from what it is learnt, and under which name it is offered.

`sequences.parquet` and `places.parquet` are what the stage leaves; without likes to fill a batch it
leaves none, and the version learns no behaviour.
"""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from catalog.lake.tables import EVENTS
from features.histories import HistoryConfig, positive_events
from ponder.finetuning.run import Counts, Progress, Run

if TYPE_CHECKING:
    from embedder.finetune.training.sequence_objective import SequenceObjective
    from embedder.model.checkpoint import Checkpoint
    from embedder.version import Manifest

BEHAVIOUR = "behaviour"
"""Name of the stage, and of the space in a manifest's `instructions`."""

INSTRUCTIONS = ("What does someone who likes this like next?", "Who likes this item?")

MAX_DIM = 64
"""Of the behaviour vectors that an item's place comes from; docs/finetuning.md."""


def gather_likes(run: Run, progress: Progress) -> Counts:
    """Stage `behaviour`: what users liked one after the other, and where that puts the items."""
    if not run.config.behaviour:
        return {"is_learnt": False}
    rows = _sequences(run)
    if len(rows) < run.config.collaborative(()).batch_size:
        return {"sequences": len(rows), "is_learnt": False}
    places = _places(run)
    progress(len(rows))
    folder = run.folder / BEHAVIOUR
    folder.mkdir(exist_ok=True)
    rows.write_parquet(folder / "sequences.parquet")
    places.write_parquet(folder / "places.parquet")
    return {"sequences": len(rows), "placed": len(places), "is_learnt": True}


def objectives(run: Run, manifest: "Manifest") -> "list[SequenceObjective]":
    """What joint training learns beside the content; empty where no behaviour is learnt."""
    from embedder.finetune.training.sequence_objective import SequenceObjective

    if not is_learnt(run):
        return []
    folder = run.folder / BEHAVIOUR
    places = pl.read_parquet(folder / "places.parquet")
    vectors = np.array(places["vector"].to_list(), np.float32)
    return [
        SequenceObjective(
            pl.read_parquet(folder / "sequences.parquet"),
            run.contents,
            dict(zip(places["item_id"], vectors, strict=True)),
            run.config.collaborative(manifest.dims),
        )
    ]


def is_learnt(run: Run) -> bool:
    """Whether the version learns a behaviour space."""
    counts = run.done(BEHAVIOUR)
    return counts is not None and counts["is_learnt"]


def offering(manifest: "Manifest") -> "Manifest":
    """The manifest of a version with a behaviour space; instructions that it has stay."""
    return replace(manifest, instructions={BEHAVIOUR: INSTRUCTIONS} | manifest.instructions)


def in_behaviour_space(checkpoint: "Checkpoint") -> "Checkpoint | None":
    """The version as it reads items for the behaviour space; None when it has none."""
    if BEHAVIOUR not in checkpoint.manifest.instructions:
        return None
    return replace(checkpoint, manifest=checkpoint.manifest.for_source(BEHAVIOUR))


def _positives(run: Run) -> tuple[pl.DataFrame, datetime]:
    """What users liked, of the lake as the pairs saw it, and the split."""
    pairs = run.done("pairs")
    assert pairs is not None
    events = run.lake.read(EVENTS, as_of=run.read_at)
    before = datetime.fromisoformat(pairs["before"]) if pairs["before"] else run.read_at
    return positive_events(events, config=HistoryConfig()), before


def _sequences(run: Run) -> pl.DataFrame:
    """Sequences whose target and at least one item can be read, at most `max_pairs` of them."""
    from embedder.finetune.data.sequences import sequences

    positives, before = _positives(run)
    known = list(run.contents)
    rows = sequences(positives, before=before).filter(
        pl.col("target").is_in(known),
        pl.col("items").list.eval(pl.element().is_in(known)).list.any(),
    )
    most = run.config.max_pairs
    if len(rows) <= most:
        return rows
    return rows.sample(most, seed=run.config.seed).sort("user_id", "ts", "target")


def _places(run: Run) -> pl.DataFrame:
    """item_id and vector: where behaviour puts each item in the base's space."""
    from embedder.finetune.data.behaviour_targets import behaviour_vectors, procrustes_align
    from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1

    positives, before = _positives(run)
    base = run.load(run.base)
    reading = in_behaviour_space(replace(base, manifest=offering(base.manifest)))
    assert reading is not None
    num_items = positives.filter(pl.col("ts") < before)["item_id"].n_unique()
    dim = min(MAX_DIM, base.hidden_size, num_items - 1)
    found = behaviour_vectors(positives, before=before, dim=dim, seed=run.config.seed)
    found = found.filter(pl.col("item_id").is_in(list(run.contents)))
    encoder = MMEmbR1(reading, EmbedderConfig(device=run.settings.device))
    items = encoder.encode_items([run.contents[i] for i in found["item_id"]], policy="never")
    turned = procrustes_align(
        np.array(found["vector"].to_list()), np.stack([item.vector for item in items])
    )
    return found.with_columns(vector=pl.Series(turned.tolist(), dtype=pl.List(pl.Float32)))
