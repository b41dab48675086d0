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
from ponder.finetuning.results import GatheredLikes, GatheredPairs
from ponder.finetuning.run import Progress, Run

if TYPE_CHECKING:
    from embedder.finetune.training.sequence_objective import SequenceObjective
    from embedder.model.checkpoint import Checkpoint
    from embedder.version import Manifest

BEHAVIOUR = "behaviour"
"""Name of the stage, and of the space in a manifest's `instructions`."""


def gather_likes(run: Run, progress: Progress) -> GatheredLikes:
    """Gather what users liked one after the other, and where it puts items: stage `behaviour`."""
    config = run.config.behaviour
    if not config.learns:
        return GatheredLikes(is_learnt=False)
    rows = _sequences(run)
    if len(rows) < config.objective.batch_size:
        return GatheredLikes(is_learnt=False, sequences=len(rows))
    places = _places(run)
    progress(len(rows))
    folder = run.folder / BEHAVIOUR
    folder.mkdir(exist_ok=True)
    rows.write_parquet(folder / "sequences.parquet")
    places.write_parquet(folder / "places.parquet")
    return GatheredLikes(is_learnt=True, sequences=len(rows), placed=len(places))


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
            replace(run.config.behaviour.objective, dims=manifest.dims),
        )
    ]


def is_learnt(run: Run) -> bool:
    """Whether the version learns a behaviour space."""
    likes = run.done(BEHAVIOUR, GatheredLikes)
    return likes is not None and likes.is_learnt


def offering(run: Run, manifest: "Manifest") -> "Manifest":
    """The manifest of a version with a behaviour space; instructions that it has stay."""
    own = {BEHAVIOUR: run.config.behaviour.instructions}
    return replace(manifest, instructions=own | manifest.instructions)


def in_behaviour_space(checkpoint: "Checkpoint") -> "Checkpoint | None":
    """The version as it reads items for the behaviour space; None when it has none."""
    if BEHAVIOUR not in checkpoint.manifest.instructions:
        return None
    return replace(checkpoint, manifest=checkpoint.manifest.for_source(BEHAVIOUR))


def _positives(run: Run) -> tuple[pl.DataFrame, datetime]:
    """What users liked, of the lake as the pairs saw it, and the split."""
    split = run.result("pairs", GatheredPairs).before
    events = run.lake.read(EVENTS, as_of=run.read_at)
    before = datetime.fromisoformat(split) if split else run.read_at
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
    most = run.config.pairs.max_pairs
    if len(rows) <= most:
        return rows
    return rows.sample(most, seed=run.config.seed).sort("user_id", "ts", "target")


def _places(run: Run) -> pl.DataFrame:
    """item_id and vector: where behaviour puts each item in the base's space."""
    from embedder.finetune.data.behaviour_targets import behaviour_vectors, procrustes_align
    from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1

    positives, before = _positives(run)
    base = run.load(run.base)
    reading = in_behaviour_space(replace(base, manifest=offering(run, base.manifest)))
    assert reading is not None
    num_items = positives.filter(pl.col("ts") < before)["item_id"].n_unique()
    dim = min(run.config.behaviour.max_dim, base.hidden_size, num_items - 1)
    found = behaviour_vectors(positives, before=before, dim=dim, seed=run.config.seed)
    found = found.filter(pl.col("item_id").is_in(list(run.contents)))
    encoder = MMEmbR1(reading, EmbedderConfig(device=run.settings.device))
    items = encoder.encode_items([run.contents[i] for i in found["item_id"]], policy="never")
    turned = procrustes_align(
        np.array(found["vector"].to_list()), np.stack([item.vector for item in items])
    )
    return found.with_columns(vector=pl.Series(turned.tolist(), dtype=pl.List(pl.Float32)))
