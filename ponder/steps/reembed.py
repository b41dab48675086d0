"""Change the model: fill another version beside the live one, and switch when it is valid.

Every step looks at the lake and the index for what is left to do, so that it may be killed anywhere
and run again. The lake's table `index_versions` tells how far a version has come.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from catalog.lake.index_versions import IndexVersions
from catalog.lake.lake import Lake
from catalog.lake.living_embeddings import living_items
from catalog.lake.shown_media import read_media
from catalog.lake.tables import ITEMS
from ponder.registry import REGISTRY
from ponder.settings import Settings
from ponder.steps.codes import assign_where_used
from ponder.steps.embed import Embedded, embed_shards, plan
from ponder.steps.index import follow_lake, remove_deleted, sync_collection
from ponder.steps.progress import Progress, ignore_progress
from ponder.steps.validation import is_validated, validate_in
from ponder.steps.versions import promote
from ponder.telemetry.observation import observed
from ponder.wiring.artifacts import follow
from ponder.wiring.encoder import configured_version, open_encoder
from ponder.wiring.stores import open_index, open_lake
from ponder.wiring.vectors import embedded_dim, embedded_keys, failed_keys
from recall.index_kinds import LITE_KIND, IndexKind, vector_bytes

if TYPE_CHECKING:
    from recall.index import SyncReport

logger = logging.getLogger(__name__)

TIMED_ITEMS = 8
"""Items that a plan embeds, and throws away, to tell how long all will take."""

MAX_ROUNDS = 5
"""Times that the version catches up with what landed meanwhile; the validation judges the rest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReembedPlan:
    """What a change of the model will take."""

    version: str
    """Model version that is to go live."""

    live: str | None
    """The version that is live now."""

    num_items: int
    """Living items."""

    to_embed: int
    """Of those, items that the version has yet to embed."""

    seconds: float
    """Estimate of the embedding, by one process: some of the items, timed."""

    index_kinds: dict[str, str]
    """How the vectors of each version are indexed, by version, or will be."""

    memory_bytes: int
    """Estimate for both collections: vectors, as they are indexed, and graph."""

    memory_limit_bytes: int | None
    """What there is; None when that is not known."""

    @property
    def fits(self) -> bool:
        """Whether both collections fit into memory, as far as that is known."""
        limit = self.memory_limit_bytes
        return limit is None or self.memory_bytes <= limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Reembedded:
    """What a change of the model did in this run; a run that goes on has less to do."""

    live: str
    before: str | None
    embedded: Embedded
    upserted: int
    deleted: int


class DoesNotFit(RuntimeError):
    """Two collections would need more memory than there is."""


def settings_for(settings: Settings, to: str) -> Settings:
    """Return the settings with another embedder.

    Args:
        settings: the deployment.
        to: a registered version or `champion`; else an embedder as `PONDER_MODEL` takes it. Empty,
            or the id of the configured version: the configured one.
    """
    if not to or to == configured_version(settings):
        return settings
    follow(settings, "models")
    if to == "champion" or to in settings.registry.names():
        return settings.replace(model=f"{REGISTRY}{to}")
    for model in settings.registry.models():
        other = settings.replace(model=model)
        if configured_version(other) == to:
            return other
    return settings.replace(model=to)


def plan_reembed(settings: Settings, *, to: str = "", timed: bool = True) -> ReembedPlan:
    """Plan a change of the model; nothing is written.

    Args:
        settings: the deployment.
        to: see `settings_for`.
        timed: embed a few items to estimate the time, which loads the model; else it is 0.
    """
    target, lake = settings_for(settings, to), open_lake(settings)
    version, known = configured_version(target), IndexVersions(lake)
    live = known.live()
    num_items = int(living_items(lake).select(pl.len()).collect().item())
    to_embed = plan(target).num_items
    per_item_s = _seconds_per_item(target, lake) if timed and to_embed else 0.0
    dims = {v: embedded_dim(lake, v) for v in (version, live) if v is not None}
    widest = max((dim for dim in dims.values() if dim), default=0)
    sizes = {v: dim or widest for v, dim in dims.items()}
    kinds = _index_kinds(target, sizes, num_items=num_items)
    return ReembedPlan(
        version=version,
        live=live,
        num_items=num_items,
        to_embed=to_embed,
        seconds=to_embed * per_item_s,
        index_kinds=dict(kinds),
        memory_bytes=sum(
            int(num_items * vector_bytes(kinds[v], dim=dim, m=settings.index_m))
            for v, dim in sizes.items()
        ),
        memory_limit_bytes=_memory_limit(settings),
    )


def _index_kinds(
    settings: Settings, dims: Mapping[str, int], *, num_items: int
) -> dict[str, IndexKind]:
    """Return the kind of each version's index: that of its collection, or of one to be made."""
    if settings.is_embedded:  # nobody need wait for Milvus Lite's folder to know that
        asked = settings.index_type
        return dict.fromkeys(dims, LITE_KIND if asked == "auto" else asked)
    with open_index(settings) as milvus:
        there = milvus.versions()
        return {
            version: milvus.index_kind(version)
            if version in there
            else milvus.planned_kind(num_items=num_items, dim=dim)
            for version, dim in dims.items()
        }


def _memory_limit(settings: Settings) -> int | None:
    if settings.index_memory_gib:
        return int(settings.index_memory_gib * 2**30)
    if settings.is_embedded:  # Milvus Lite lives in this process
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _seconds_per_item(settings: Settings, lake: Lake) -> float:
    """Return how long an item takes, by some that are left to embed."""
    from embedder.items import embed_items

    encoder = open_encoder(settings)
    done = pl.concat([embedded_keys(lake, encoder.version), failed_keys(lake, encoder.version)])
    left = living_items(lake).join(done.lazy(), on=["item_id", "content_hash"], how="anti")
    items = left.bottom_k(TIMED_ITEMS, by=pl.col("item_id").hash(seed=0)).collect()
    media = read_media(lake, items)
    started = time.perf_counter()
    embed_items(items, media, encoder)
    return (time.perf_counter() - started) / max(len(items), 1)


@observed("reembed")
def reembed(
    settings: Settings,
    *,
    to: str = "",
    force: bool = False,
    num_workers: int = 1,
    on_step: Callable[[str], None] = lambda step: None,
    progress: Progress = ignore_progress,
) -> Reembedded:
    """Serve another model version: fill it beside the live one, catch up, validate, and switch.

    Interrupted at any point, the live version goes on answering, and the next run goes on where
    this one was. The version that was live stays as the previous one, until it is retired.

    Args:
        settings: the deployment.
        to: see `settings_for`.
        force: although it does not fit into memory, and whatever the validation says.
        num_workers: processes that embed.
        on_step: told each step when it begins: plan, embed, fill, catch up, validate, switch, done.
        progress: told how many more items were embedded.

    Raises:
        DoesNotFit: both collections would need more memory than there is.
        ValidationFailed: the version must not go live; the live one stays.
    """
    target, lake = settings_for(settings, to), open_lake(settings)
    on_step("plan")
    planned = plan_reembed(settings, to=to, timed=False)
    if not planned.fits and not force:
        raise DoesNotFit(
            f"both collections must fit into {planned.memory_limit_bytes} bytes of memory, got "
            f"{planned.memory_bytes}; retire versions, give more memory or pass --force"
        )
    change = _Change(target, lake, planned.version, num_workers, progress)
    on_step("embed")
    change.embed()
    on_step("fill")
    change.fill()
    on_step("catch up")
    change.catch_up()
    on_step("validate")
    if not force:
        change.validate()
    on_step("switch")
    promoted = promote(target, force=force)
    on_step("done")
    return Reembedded(
        live=promoted.live,
        before=planned.live,
        embedded=change.embedded,
        upserted=change.upserted,
        deleted=change.deleted,
    )


class _Change:
    """The steps of one run, and what they have done."""

    def __init__(
        self, target: Settings, lake: Lake, version: str, num_workers: int, progress: Progress
    ) -> None:
        self._target, self._lake, self._version = target, lake, version
        self._num_workers, self._progress = num_workers, progress
        self._known = IndexVersions(lake)
        self.embedded = Embedded()
        self.upserted = self.deleted = 0
        self._items_commit: int | None = None  # of `items`, when it was last looked what is left

    def embed(self) -> None:
        """Embed what the version has not embedded yet."""
        self._enter("embedding")
        self._embed_left()

    def fill(self) -> None:
        """Make the version's collection equal to the lake."""
        self._enter("filling")
        self._sync()

    def catch_up(self) -> None:
        """Repeat both for what landed or was deleted meanwhile, until nothing has."""
        for _ in range(MAX_ROUNDS):
            if self._items_commit == self._lake.version(ITEMS):
                return
            self._embed_left()
            self._sync()
        logger.warning("version=%s did not catch up in %d rounds", self._version, MAX_ROUNDS)

    def validate(self) -> None:
        """Validate the collection, unless it is what was validated already."""
        with open_index(self._target) as milvus:
            if not is_validated(self._target, self._lake, milvus, self._version):
                validate_in(self._target, self._lake, milvus, self._version)

    def _enter(self, state: str) -> None:
        known = self._known.of(self._version)
        if known is None or known.state in ("embedding", "filling", "refused", "retired"):
            self._known.record(self._version, state=state)

    def _embed_left(self) -> None:
        self._items_commit = self._lake.version(ITEMS)
        planned = plan(self._target)
        if planned.num_items:
            self.embedded += embed_shards(
                self._target,
                planned.shards,
                num_workers=self._num_workers,
                progress=self._progress,
            )

    def _sync(self) -> None:
        assign_where_used(self._target, [self._version])
        with open_index(self._target) as milvus:
            follow_lake(self._lake, milvus)
            removed = remove_deleted(self._lake, milvus)
            report: SyncReport | None = sync_collection(self._lake, milvus, self._version)
        if report is None:
            raise ValueError(
                f"version {self._version!r} has embedded no living item; land items first, or "
                "look at `ponder dead-letters list --stage embed`"
            )
        self.upserted += report.upserted
        self.deleted += report.deleted + removed.get(self._version, 0)
