"""Embeds what a plan has left: one shard, or all of them over several processes.

The `embeddings` table itself is the record of what is done. A shard ends with one commit to it, so
a run that is killed does less than one shard again in each of its processes.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from catalog.lake import Lake
from catalog.tables import DEAD_LETTERS, EMBEDDINGS, ITEMS, MEDIA, RATIONALES
from ponder.settings import Settings
from ponder.wiring import open_encoder, open_lake

if TYPE_CHECKING:
    from embedder.content import Encoder

Shard = tuple[str, str]
"""First and last item_id."""

EmbedCounts = dict[str, int]
NOTHING: EmbedCounts = {"embedded": 0, "reasoned": 0, "failed": 0}


def embedded_keys(lake: Lake, version: str) -> pl.DataFrame:
    """The keys of what the version has embedded."""
    done = lake.scan(EMBEDDINGS).filter(pl.col("model_version") == version)
    return done.select(EMBEDDINGS.key).collect()


def embed_shard(
    lake: Lake, encoder: "Encoder", shard: Shard, *, progress: Callable[[int], None]
) -> EmbedCounts:
    """Embeds what is left of a shard and writes embeddings and rationales to the lake.

    An item that cannot be embedded goes to `dead_letters` with the reason.
    """
    from embedder.items import embed_items
    from embedder.plan import plan

    first, last = shard
    inside = pl.col("item_id").is_between(pl.lit(first), pl.lit(last))
    items = lake.scan(ITEMS).filter(inside).collect()
    todo = plan(items, embedded_keys(lake, encoder.version), model_version=encoder.version)
    hashes = todo["image_hash"].drop_nulls().unique().to_list()
    media = lake.scan(MEDIA).filter(pl.col("hash").is_in(hashes)).collect()
    images = dict(zip(media["hash"], media["bytes"], strict=True))
    embedded = embed_items(todo, images, encoder, progress=progress)
    lake.put_dead_letters(_letters(todo, embedded.failures, encoder.version))
    lake.insert_new(RATIONALES, embedded.rationales)
    # Last, for it is what counts as done.
    lake.insert_new(EMBEDDINGS, embedded.embeddings)
    return {
        "embedded": len(embedded.embeddings),
        "reasoned": len(embedded.rationales),
        "failed": len(embedded.failures),
    }


def embed_shards(
    settings: Settings,
    shards: Iterable[Shard],
    *,
    num_workers: int = 1,
    progress: Callable[[int], None],
) -> EmbedCounts:
    """Embeds shards, in this process or in several, and gives the sums of their counts.

    With several, each takes one of the GPUs that are visible here, in turn; `progress` then moves a
    shard at a time.
    """
    totals = dict(NOTHING)
    if num_workers == 1:
        lake, encoder = open_lake(settings), open_encoder(settings)
        for shard in shards:
            _add(totals, embed_shard(lake, encoder, shard, progress=progress))
        return totals
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    worker_numbers = context.Queue()
    for number in range(num_workers):
        worker_numbers.put(number)
    with ProcessPoolExecutor(
        num_workers, mp_context=context, initializer=_take_device, initargs=(worker_numbers,)
    ) as pool:
        try:
            for future in as_completed([pool.submit(_embed, settings, s) for s in shards]):
                counts = future.result()
                _add(totals, counts)
                progress(counts["embedded"] + counts["failed"])
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or the other shards would all be done first
            raise
    return totals


def _embed(settings: Settings, shard: Shard) -> EmbedCounts:
    lake, encoder = open_lake(settings), open_encoder(settings)
    return embed_shard(lake, encoder, shard, progress=lambda done: None)


def _take_device(worker_numbers: "multiprocessing.Queue[int]") -> None:
    """Leaves one GPU visible to this worker, before anything has looked for them."""
    number = worker_numbers.get()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(number)]
    os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]


def _add(totals: EmbedCounts, counts: EmbedCounts) -> None:
    for name in totals:
        totals[name] += counts[name]


def _letters(todo: pl.DataFrame, failures: dict[str, str], version: str) -> pl.DataFrame:
    """Dead letters of items that have been landed: the lake holds them, so the key is enough."""
    failed = todo.filter(pl.col("item_id").is_in(list(failures))).sort("item_id")
    return pl.DataFrame(
        [
            {
                "topic": f"embed/{version}/{row['item_id']}",
                "partition": 0,
                "offset": 0,
                "stage": "embed",
                "reason": failures[row["item_id"]],
                "key": row["item_id"].encode(),
                "value": row["content_hash"].encode(),
                "failed_at": datetime.now(UTC),
            }
            for row in failed.iter_rows(named=True)
        ],
        schema=DEAD_LETTERS.schema,
    )
