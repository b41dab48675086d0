"""The behaviour space of a version: from what it is learnt, and under which name it is offered.

`sequences.parquet` and `places.parquet` are what the stage leaves; without likes to fill a batch it
leaves none, and the version learns no behaviour.
"""

from collections.abc import Iterable
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
    from embedder.finetune.training.item_objectives import ItemObjective
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
    if config.places is not None and len(places) < config.places.batch_size:
        return GatheredLikes(is_learnt=False, sequences=len(rows), placed=len(places))
    progress(len(rows))
    folder = run.folder / BEHAVIOUR
    folder.mkdir(exist_ok=True)
    rows.write_parquet(folder / "sequences.parquet")
    places.write_parquet(folder / "places.parquet")
    return GatheredLikes(is_learnt=True, sequences=len(rows), placed=len(places))


def objectives(run: Run, manifest: "Manifest") -> "list[ItemObjective]":
    """Return what joint training learns beside the content; none where no behaviour is learnt."""
    from embedder.finetune.training.place_objective import PlaceObjective
    from embedder.finetune.training.sequence_objective import SequenceObjective

    if not is_learnt(run):
        return []
    folder, config = run.folder / BEHAVIOUR, run.config.behaviour
    frame = pl.read_parquet(folder / "places.parquet")
    places, liked = (
        dict(zip(frame["item_id"], np.array(frame[name].to_list(), np.float32), strict=True))
        for name in ("vector", "liked")
    )
    if config.places is not None:
        num_users = dict(frame.select("item_id", "num_users").iter_rows())
        return [PlaceObjective(run.contents, places, liked, num_users, config.places)]
    sequences = pl.read_parquet(folder / "sequences.parquet")
    objective = replace(config.objective, dims=manifest.dims)
    return [SequenceObjective(sequences, run.contents, places, objective)]


def is_learnt(run: Run) -> bool:
    """Return whether the version learns a behaviour space."""
    likes = run.done(BEHAVIOUR, GatheredLikes)
    return likes is not None and likes.is_learnt


def offering(run: Run, manifest: "Manifest") -> "Manifest":
    """Return the manifest of a version with a behaviour space; instructions that it has stay."""
    own = {BEHAVIOUR: run.config.behaviour.instructions}
    return replace(manifest, instructions=own | manifest.instructions)


def in_behaviour_space(checkpoint: "Checkpoint") -> "Checkpoint | None":
    """Return the version as it reads items for the behaviour space; None when it has none."""
    if BEHAVIOUR not in checkpoint.manifest.instructions:
        return None
    return replace(checkpoint, manifest=checkpoint.manifest.for_source(BEHAVIOUR))


def _positives(run: Run) -> tuple[pl.DataFrame, datetime]:
    """Return what users liked, of the lake as the pairs saw it, and the split."""
    split = run.result("pairs", GatheredPairs).before
    events = run.lake.read(EVENTS, as_of=run.read_at)
    before = datetime.fromisoformat(split) if split else run.read_at
    return positive_events(events, config=HistoryConfig()), before


def _sequences(run: Run) -> pl.DataFrame:
    """Return sequences whose target and one item at least can be read, `max_pairs` at most."""
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
    """Return where behaviour puts each item in the base's space.

    item_id; vector; liked, the same without what says how popular the item is; num_users who like
    it.
    """
    from embedder.finetune.data.behaviour_targets import procrustes_align, without_popularity

    base, config = run.load(run.base), run.config.behaviour
    found = _behaviour_vectors(run, max_dim=base.hidden_size)
    given_IK = np.array(found["vector"].to_list(), np.float32)
    place_ID = procrustes_align(given_IK, _read_as_items(run, base, found["item_id"]))
    liked_ID = without_popularity(given_IK, place_ID) if config.popularity_share else place_ID
    columns = {"vector": place_ID, "liked": liked_ID}
    return found.with_columns(
        pl.Series(name, vectors.tolist(), dtype=pl.List(pl.Float32))
        for name, vectors in columns.items()
    )


def _behaviour_vectors(run: Run, *, max_dim: int) -> pl.DataFrame:
    """Return item_id, vector and num_users of every item that is liked and can be read."""
    from embedder.finetune.data.behaviour_targets import behaviour_vectors, with_popularity

    positives, before = _positives(run)
    share = run.config.behaviour.popularity_share
    earlier = positives.filter(pl.col("ts") < before)
    num_users = earlier.group_by("item_id").agg(num_users=pl.col("user_id").n_unique())
    most = max_dim - 1 if share else max_dim
    dim = min(run.config.behaviour.max_dim, most, len(num_users) - 1)
    found = behaviour_vectors(positives, before=before, dim=dim, seed=run.config.seed)
    if share:
        found = with_popularity(found, positives, before=before, share=share)
    known = found.filter(pl.col("item_id").is_in(list(run.contents)))
    return known.join(num_users, on="item_id", maintain_order="left")


def _read_as_items(run: Run, base: "Checkpoint", item_ids: Iterable[str]) -> np.ndarray:
    """Return [I, D] the base's vectors of items as it reads them for the behaviour space."""
    from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1

    reading = in_behaviour_space(replace(base, manifest=offering(run, base.manifest)))
    assert reading is not None
    encoder = MMEmbR1(reading, EmbedderConfig(device=run.settings.device))
    items = encoder.encode_items([run.contents[item] for item in item_ids], policy="never")
    return np.stack([item.vector for item in items])
