"""The fine-tune of nano on films: what it may know as a data folder, for the recipe `films`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from bench.films_data import Films
from bench.films_split import Split
from catalog.atomic_file import write_atomically
from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import Checkpoint
from ponder.finetuning.behaviour import BEHAVIOUR
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.finetuning.stages import STAGES, run_stage
from ponder.settings import Settings

RECIPE = "films"


def fine_tuned(films: Films, split: Split, folder: Path, changes: Mapping[str, object]) -> Run:
    """Return the run that fine-tuned nano; it goes on where a killed call was.

    Args:
        films: the catalogue.
        split: nothing of it is read but what is known before it, and no film that is not liked
            there, so a film without a like before `at` is new to the model in every respect.
        folder: of the benchmark.
        changes: of the recipe's values.
    """
    data = folder / "data"
    if not (data / "items.parquet").exists():
        write_known(films, split, data)
    told = {"data": str(data), "before": split.at.isoformat(), "name": "nano-films"}
    config = configured({**changes, **told}, recipe=RECIPE)
    run = Run.open(Settings(home=folder), config, folder / "run")
    for name in STAGES:
        run_stage(run, name)
        if name == "joint":
            break
    return run


def write_known(films: Films, split: Split, folder: Path) -> None:
    """Write the films that were liked before the split, who rated them, and their texts."""
    liked = set(split.likes["item_id"])
    rows = [row for row, item_id in enumerate(films.item_ids) if item_id in liked]
    events = split.known.with_columns(
        event_id=pl.int_range(pl.len()).cast(pl.String), ts=pl.col("ts")
    )
    write_atomically(folder / "events.parquet", events.write_parquet)
    texts = [films.contents[row].text for row in rows]
    write_atomically(folder / "vocabulary.txt", "\n".join(texts))
    items = pl.DataFrame([_item(films, row) for row in rows], schema_overrides={"image": pl.Binary})
    write_atomically(folder / "items.parquet", items.write_parquet)


def _item(films: Films, row: int) -> dict[str, object]:
    title, content = films.titles[row], films.contents[row]
    return {
        "item_id": films.item_ids[row],
        "title": title or None,
        "text": content.text.removeprefix(title).removeprefix("\n") or None,
        "image": content.image,
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
    }


def vectors(
    checkpoint: Checkpoint, contents: Sequence[Content], *, source: str = "", as_query: bool = False
) -> np.ndarray:
    """Return [N, D] direct vectors of contents as items or queries, in the space of a source."""
    read = replace(checkpoint, manifest=checkpoint.manifest.for_source(source))
    embedder = MMEmbR1(read, EmbedderConfig(policy="never"))
    encode = embedder.encode_query if as_query else embedder.encode_items
    return np.stack([encoding.vector for encoding in encode(contents)])


def taught(films: Films, run: Run) -> np.ndarray:
    """Return [N, D] where behaviour puts the films: 0 where it knows nothing of a film.

    The behaviour space can at best come to be like this for the films that were learnt from.
    """
    places = pl.read_parquet(run.folder / BEHAVIOUR / "places.parquet")
    row_of = films.row_of
    place_ID = np.array(places["vector"].to_list())
    vector_ND = np.zeros((len(films.item_ids), place_ID.shape[1]))
    vector_ND[[row_of[item] for item in places["item_id"]]] = place_ID
    return vector_ND
