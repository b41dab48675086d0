"""Plan what is left to embed, and embed it: one shard, or all of them over several processes.

The `embeddings` table itself is the record of what is done. A shard ends with a commit to it and,
where it takes longer than `commit_every_s`, has more of them on the way; so a run that is killed
does no more than that again in each of its processes, and a shard that takes longer than its task
may is finished by the retries.
"""

import functools
import logging
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from catalog.lake.embedding_failures import dead_letter_keys, embedding_dead_letters
from catalog.lake.key_set import KeySet
from catalog.lake.lake import Lake
from catalog.lake.living_embeddings import KEYS, embeddings_of, living_items
from catalog.lake.shown_media import read_media
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, ITEMS, RATIONALES
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.telemetry.identity import current_ids, identify
from ponder.telemetry.observation import observed
from ponder.telemetry.step_metrics import StepMetrics
from ponder.telemetry.tracing import span
from ponder.wiring.encoder import configured_version, open_encoder
from ponder.wiring.golden_vectors import check_golden_vectors
from ponder.wiring.stores import open_lake
from ponder.wiring.vectors import embedded_keys, failed_keys

if TYPE_CHECKING:
    from embedder.content import CatalogueEncoder
    from embedder.items import EmbeddedItems

logger = logging.getLogger(__name__)

BLOCK_ITEMS = 2_048
"""Items of a shard whose images are in memory at once."""

BLOCK_CLIPS = 32
"""Of these, items with a clip or a sound: some megabytes, and as many again once it is cut up."""

Shard = tuple[str, str]
"""First and last item_id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """How many items were embedded, and how."""

    embedded: int = 0

    reasoned: int = 0
    """Of the embedded, those that were reasoned about."""

    fallbacks: int = 0
    """Of the embedded, those that were to be reasoned about and were not."""

    failed: int = 0
    """Items that could not be embedded; each has a dead letter."""

    rationale_tokens: int = 0
    """Tokens that reasoning generated."""

    seconds: float = field(default=0.0, compare=False)
    """Spent on encoding and writing, without loading the model; of several processes the sum."""

    @property
    def items_per_s(self) -> float:
        """Items embedded in a second of one process; 0 when none were."""
        return self.embedded / self.seconds if self.seconds else 0.0

    def __add__(self, other: "Embedded") -> "Embedded":
        return Embedded(
            embedded=self.embedded + other.embedded,
            reasoned=self.reasoned + other.reasoned,
            fallbacks=self.fallbacks + other.fallbacks,
            failed=self.failed + other.failed,
            rationale_tokens=self.rationale_tokens + other.rationale_tokens,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is left to embed."""

    model_version: str
    num_items: int

    num_failed: int
    """Items left out because the version has failed to embed them as they are; see
    `catalog.lake.embedding_failures`."""

    shards: list[Shard]
    """First and last item_id of each shard. A shard names a range and not its content, so that a
    retry finds only what is left of it."""

    shard_size: int
    """Items of each shard; the last may have fewer."""

    def sized_shards(self) -> list[tuple[str, str, int]]:
        """Return the shards with how many items each had to embed when this was planned."""
        starts = range(0, self.num_items, self.shard_size)
        sizes = [min(self.shard_size, self.num_items - start) for start in starts]
        return [(*shard, size) for shard, size in zip(self.shards, sizes, strict=True)]


def _count_planned(metrics: StepMetrics, planned: Plan) -> None:
    metrics.planning.tell(items=planned.num_items, failed=planned.num_failed)


@observed("plan", count=_count_planned)
def plan(settings: Settings) -> Plan:
    """Plan what the configured model version has not embedded yet, in shards."""
    from embedder.plan import plan, shards

    version = configured_version(settings)
    lake = open_lake(settings)
    # Of a catalogue that is embedded only few items are looked at, whatever its size.
    embedded = KeySet.of(embeddings_of(lake, version), KEYS)
    missing = embedded.absent(living_items(lake).select(*KEYS, "deleted"))
    todo = plan(missing, failed_keys(lake, version), model_version=version)
    shard_size = max(settings.shard_size, -(-len(todo) // settings.max_shards))
    ranges = [
        (shard["item_id"][0], shard["item_id"][-1]) for shard in shards(todo, shard_size=shard_size)
    ]
    logger.info("planned version=%s items=%d shards=%d", version, len(todo), len(ranges))
    return Plan(
        model_version=version,
        num_items=len(todo),
        num_failed=len(missing) - len(todo),
        shards=ranges,
        shard_size=shard_size,
    )


def _count_embedded(metrics: StepMetrics, done: Embedded) -> None:
    from embedder.engine.memory import peak_memory_bytes

    metrics.embedding.count(
        direct=done.embedded - done.reasoned - done.fallbacks,
        reasoned=done.reasoned,
        fallbacks=done.fallbacks,
        failed=done.failed,
        rationale_tokens=done.rationale_tokens,
        seconds=done.seconds,
        memory_bytes=peak_memory_bytes(),
    )


def embed(
    settings: Settings,
    shard: Shard,
    *,
    num_processes: int = 1,
    progress: Progress = ignore_progress,
) -> Embedded:
    """Embed what is left of a shard and writes embeddings and rationales to the lake.

    An item that cannot be embedded goes to `dead_letters` with the reason, and is left alone until
    its content changes or the letter is replayed.

    Args:
        settings: of the deployment.
        shard: of the items.
        num_processes: that embed on this machine.
        progress: told how many more items are finished, failed ones included.

    Raises:
        ValueError: the model loads differently from when its version was first used.
    """
    return _embed_here(settings, [shard], num_processes=num_processes, progress=progress)


@observed("embed", count=_count_embedded)
def _embed_here(
    settings: Settings, shards: Iterable[Shard], *, num_processes: int = 1, progress: Progress
) -> Embedded:
    """Embed shards in this process."""
    lake, total = open_lake(settings), Embedded()
    with span("load the model"):
        encoder = open_encoder(settings, num_processes=num_processes)
        check_golden_vectors(lake, encoder, keeps=True)
    for shard in shards:
        first, last = shard
        identify(version=encoder.version, shard=f"{first}..{last}")
        with span("shard", shard=f"{first}..{last}"):
            total += embed_shard(
                lake, encoder, shard, commit_every_s=settings.commit_every_s, progress=progress
            )
    return total


def embed_shard(
    lake: Lake,
    encoder: "CatalogueEncoder",
    shard: Shard,
    *,
    commit_every_s: float = float("inf"),
    progress: Progress,
) -> Embedded:
    """Embed what is left of a shard and writes embeddings and rationales to the lake.

    An item that cannot be embedded goes to `dead_letters` with the reason, and is left alone until
    its content changes or the letter is replayed.

    Args:
        lake: read and written.
        encoder: the model version.
        shard: first and last item_id.
        commit_every_s: seconds of embedding after which what is done is written.
        progress: told how many more items are finished.
    """
    from embedder.items import stream_embedded
    from embedder.plan import plan

    first, last = shard
    inside = pl.col("item_id").is_between(pl.lit(first), pl.lit(last))
    items = lake.scan(ITEMS).filter(inside).collect()
    done = pl.concat(
        [embedded_keys(lake, encoder.version, where=inside), failed_keys(lake, encoder.version)]
    )
    todo = plan(items, done, model_version=encoder.version)
    total, started = Embedded(), time.monotonic()
    for block in _blocks(todo):
        for part in stream_embedded(
            block, read_media(lake, block), encoder, every_s=commit_every_s, progress=progress
        ):
            with span("write"):
                total += _written(lake, block, part, version=encoder.version)
    return replace(total, seconds=time.monotonic() - started)


def _blocks(items: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the items in blocks of which all that they show fits into memory."""
    first = num_clips = 0
    with_clip = items["video_hash"].is_not_null() | items["audio_hash"].is_not_null()
    for row, has_clip in enumerate(with_clip):
        num_clips += has_clip
        if row - first == BLOCK_ITEMS or num_clips > BLOCK_CLIPS:
            yield items[first:row]
            first, num_clips = row, int(has_clip)
    if first < len(items):
        yield items[first:]


def _written(
    lake: Lake, todo: pl.DataFrame, embedded: "EmbeddedItems", *, version: str
) -> Embedded:
    """Write a part of what came of `todo`, and count it."""
    _log_fallbacks(embedded.fallbacks)
    letters = embedding_dead_letters(
        todo, embedded.failures, model_version=version, failed_at=datetime.now(UTC)
    )
    lake.put_dead_letters(letters)
    lake.insert_new(RATIONALES, embedded.rationales)
    # After all else that is kept, for it is what counts as done.
    lake.insert_new(EMBEDDINGS, embedded.embeddings)
    lake.delete(DEAD_LETTERS, dead_letter_keys(embedded.embeddings, model_version=version))
    return Embedded(
        embedded=len(embedded.embeddings),
        reasoned=len(embedded.rationales),
        fallbacks=len(embedded.fallbacks),
        failed=len(embedded.failures),
        rationale_tokens=int(embedded.embeddings["rationale_tokens"].sum()),
    )


def _log_fallbacks(fallbacks: dict[str, str]) -> None:
    if fallbacks:
        item_id, reason = min(fallbacks.items())
        logger.warning(
            "embedded without reasoning: items=%d, the first %r: %s",
            len(fallbacks),
            item_id,
            reason,
        )


def embed_shards(
    settings: Settings,
    shards: Iterable[Shard],
    *,
    num_workers: int = 1,
    progress: Progress,
) -> Embedded:
    """Embed shards, in this process or in several, and return the sum of what they did.

    With several, each takes one of the GPUs that are visible here, in turn, and the next shard
    whenever it is free; `progress` then moves a shard at a time.
    """
    if num_workers == 1:
        return _embed_here(settings, shards, progress=progress)
    total = Embedded()
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    gpus: multiprocessing.Queue[str | None] = context.Queue()
    for gpu in _gpus_of_workers(num_workers):
        gpus.put(gpu)
    if settings.device.startswith("cuda"):
        settings = settings.replace(device="cuda")  # the one that a worker sees
    with ProcessPoolExecutor(
        num_workers,
        mp_context=context,
        initializer=_begin,
        initargs=(gpus, current_ids()),
    ) as pool:
        try:
            of_shard = functools.partial(embed, settings, num_processes=num_workers)
            for future in as_completed([pool.submit(of_shard, shard) for shard in shards]):
                done = future.result()
                total += done
                progress(done.embedded + done.failed)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or the other shards would all be done first
            raise
    return total


def _gpus_of_workers(num_workers: int) -> list[str | None]:
    """Return which GPU each worker is to see; None where there is none to choose."""
    from embedder.model.devices import idle_gpus

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(number) for number in range(idle_gpus())]
    return [gpus[number % len(gpus)] if gpus else None for number in range(num_workers)]


def _begin(gpus: "multiprocessing.Queue[str | None]", ids: dict[str, str]) -> None:
    """Leaves one GPU visible to this worker, before anything has looked for them."""
    identify(**ids)
    gpu = gpus.get()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
