"""Learn codebooks of a version's vectors, and give every item its codes."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from catalog.lake.item_codes import (
    NAME,
    codebooks_in_use,
    codes_in_use,
    codes_of,
    embeddings_without_codes,
    put_codebooks_in_use,
    put_codes,
)
from catalog.lake.lake import Lake
from catalog.lake.living_embeddings import KEYS, embeddings_of, living_items, living_keys
from embedder.codes.codebooks import told
from embedder.codes.config import CodesConfig
from embedder.codes.quality import CodeUse, Reconstruction, code_use, reconstruction
from ponder.json_form import to_json
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.telemetry.observation import observed
from ponder.wiring.artifacts import shared
from ponder.wiring.codes import CODES, ROWS_AT_ONCE, codebooks_of, matrix
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake

if TYPE_CHECKING:
    from embedder.codes.codebooks import Codebooks

HELD_OUT_ITEMS = 4_096
"""Items that nothing is learned from, where there are more than are learned from."""

COMMIT_ROWS = 262_144
"""Items whose codes are written by one commit."""

NUM_SHOWN = 5
"""Items that share a prefix, which are named."""

logger = logging.getLogger(__name__)


class NoCodes(ValueError):
    """A version has no codebooks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnedCodes:
    """Codebooks that are in use now."""

    model_version: str
    codes_id: str

    is_new: bool
    """Whether they were learned by this call; else they had been, with the same options."""

    config: CodesConfig
    reconstruction: Reconstruction

    assigned: int
    """Contents of items that were given codes by this call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AssignedCodes:
    """What was given codes."""

    model_version: str

    codes_id: str | None
    """None: the version has no codebooks, so nothing was."""

    assigned: int
    """Contents of items that had none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodesAccount:
    """How good the codes of a version are."""

    model_version: str
    codes_id: str
    config: CodesConfig
    reconstruction: Reconstruction
    use: CodeUse
    """Of living items."""

    without_codes: int
    """Living items that are embedded and have no codes yet; `ponder index` gives them some."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodedItem:
    """An item, as those are listed that share codes."""

    item_id: str
    title: str | None
    codes: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedPrefix:
    """Living items whose codes begin as those of an item do."""

    prefix: str

    num_items: int
    """Without the item itself."""

    first: tuple[CodedItem, ...]
    """Those that share no more than this, in order of item_id; at most five."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemCodes:
    """The codes of an item."""

    item_id: str
    title: str | None
    codes: str

    digit: int
    """The last digit, which no other item of the same codes has."""

    shared: tuple[SharedPrefix, ...]
    """The longest prefix first."""


@observed("learn_codes")
def learn_codes(
    settings: Settings, config: CodesConfig | None = None, *, again: bool = False
) -> LearnedCodes:
    """Learn codebooks of the configured version's vectors, use them, and give all items codes.

    Args:
        settings: the deployment.
        config: how; the defaults when None.
        again: also when the codebooks in use were learned so.

    Raises:
        ValueError: fewer items are embedded than there are codes of a level.
    """
    config, version, lake = (
        config or CodesConfig(),
        configured_version(settings),
        open_lake(settings),
    )
    used = codebooks_in_use(lake, version)
    if used is not None and config_of(used["config"]) == config and not again:
        assigned = _assigned(settings, lake, version, ignore_progress)
        return LearnedCodes(
            model_version=version,
            codes_id=used["codes_id"],
            is_new=False,
            config=config,
            reconstruction=_reconstruction(used["measured"]),
            assigned=assigned.assigned,
        )
    codebooks, measured = _learned(settings, lake, version, config)
    put_codebooks_in_use(
        lake,
        version,
        codebooks.id,
        config=to_json(config),
        measured=to_json(measured),
        at=datetime.now(UTC),
    )
    return LearnedCodes(
        model_version=version,
        codes_id=codebooks.id,
        is_new=True,
        config=config,
        reconstruction=measured,
        assigned=_assigned(settings, lake, version, ignore_progress).assigned,
    )


def _learned(
    settings: Settings, lake: Lake, version: str, config: CodesConfig
) -> tuple["Codebooks", Reconstruction]:
    """Learn from some items, measure on others where there are some, and keep the artefact."""
    from embedder.codes.codebook_file import save_codebooks
    from embedder.codes.learning import learned

    order = pl.col("item_id").hash(seed=config.seed)
    keys = living_keys(lake, version).select(KEYS)
    some = keys.bottom_k(config.sample_items + HELD_OUT_ITEMS, by=order).sort(order).collect()
    vectors_ND = _vectors(lake, version, some)
    codebooks = learned(vectors_ND[: config.sample_items], config, model_version=version)
    others_ND = vectors_ND[config.sample_items :]
    measured = reconstruction(
        codebooks, others_ND if len(others_ND) else vectors_ND, held_out=len(others_ND) > 0
    )
    with shared(settings, CODES):
        save_codebooks(codebooks, settings.codebooks_folder(version))
    return codebooks, measured


def _vectors(lake: Lake, version: str, keys: pl.DataFrame) -> np.ndarray:
    """Return [N, D] float32 vectors, in the order of their keys."""
    is_one = pl.col("item_id").is_in(keys["item_id"].implode())
    embedded = embeddings_of(lake, version).filter(is_one).select(*KEYS, "vector").collect()
    found = keys.join(embedded, on=KEYS, how="left", maintain_order="left")
    return matrix(found["vector"]) if len(found) else np.empty((0, 0), dtype=np.float32)


@observed("codes")
def assign_codes(
    settings: Settings, version: str | None = None, *, progress: Progress = ignore_progress
) -> AssignedCodes:
    """Give codes to whatever a version has embedded and not coded yet.

    Args:
        settings: the deployment.
        version: the configured one when None. One without codebooks is left as it is.
        progress: told how many more have theirs.

    Raises:
        ValueError: the codebooks in use are lost, broken, or of another version.
    """
    version = version or configured_version(settings)
    return _assigned(settings, open_lake(settings), version, progress)


def assign_where_used(settings: Settings, versions: Iterable[str]) -> None:
    """Give codes to what each version that has codebooks has embedded since; see `assign_codes`."""
    lake = open_lake(settings)
    for version in versions:
        if codes_in_use(lake, version) is not None:
            assign_codes(settings, version)


def _assigned(settings: Settings, lake: Lake, version: str, progress: Progress) -> AssignedCodes:
    codebooks, total = codebooks_of(settings, version), 0
    if codebooks is None:
        return AssignedCodes(model_version=version, codes_id=None, assigned=0)
    codes_id = codebooks.id
    for rows in _coded(embeddings_without_codes(lake, version, codes_id), codebooks):
        total += put_codes(lake, rows, version=version, codes_id=codes_id)
        progress(len(rows))
    logger.info("coded version=%s codes_id=%s contents=%d", version, codes_id, total)
    return AssignedCodes(model_version=version, codes_id=codes_id, assigned=total)


def _coded(embedded: pl.LazyFrame, codebooks: "Codebooks") -> Iterator[pl.DataFrame]:
    """Yield item_id, content_hash and codes, as many rows as a commit has; vectors pass by."""
    held: list[pl.DataFrame] = []
    for batch in embedded.collect_batches(chunk_size=ROWS_AT_ONCE):
        if batch.is_empty():
            continue
        codes = pl.Series("codes", codebooks.assign(matrix(batch["vector"])).tolist())
        held.append(batch.select(KEYS).with_columns(codes.cast(pl.List(pl.Int32))))
        if sum(map(len, held)) >= COMMIT_ROWS:
            yield pl.concat(held).unique(KEYS, keep="first", maintain_order=True)
            held = []
    if held:
        yield pl.concat(held).unique(KEYS, keep="first", maintain_order=True)


def describe_codes(settings: Settings) -> CodesAccount:
    """Return how good the configured version's codes are.

    Raises:
        NoCodes: it has no codebooks.
    """
    version, lake = configured_version(settings), open_lake(settings)
    used = _used(lake, version)
    config = config_of(used["config"])
    keys = living_keys(lake, version).select(KEYS)
    coded = keys.join(codes_of(lake, used["codes_id"]), on=KEYS, how="left").select("codes")
    codes = coded.collect()["codes"]
    given = codes.drop_nulls()
    table_NL = np.array(given.to_list(), dtype=np.int32).reshape(len(given), config.num_levels)
    return CodesAccount(
        model_version=version,
        codes_id=used["codes_id"],
        config=config,
        reconstruction=_reconstruction(used["measured"]),
        use=code_use(table_NL, num_codes=config.num_codes),
        without_codes=codes.null_count(),
    )


def codes_of_item(settings: Settings, item_id: str) -> ItemCodes:
    """Return an item's codes, and which items share them or begin with the same.

    Raises:
        NoCodes: the configured version has no codebooks.
        LookupError: the item has no codes: it is not there, deleted, or not embedded yet.
    """
    version, lake = configured_version(settings), open_lake(settings)
    living = _living_codes(lake, version, _used(lake, version)["codes_id"])
    own = living.filter(pl.col("item_id") == item_id).collect()
    if own.is_empty():
        raise LookupError(
            f"item {item_id!r} has no codes of version {version!r}: it is not there, is deleted, "
            "or awaits the next ponder embed and ponder codes assign"
        )
    row = own.row(0, named=True)
    levels = row["codes"]
    alike = living.filter(
        pl.col("codes").list.first() == levels[0], pl.col("item_id") != item_id
    ).sort("item_id")
    return ItemCodes(
        item_id=item_id,
        title=row["title"],
        codes=row["name"],
        digit=row["digit"],
        shared=_shared(alike.collect(), levels),
    )


def _living_codes(lake: Lake, version: str, codes_id: str) -> pl.LazyFrame:
    """Scan item_id, title, codes, name and digit of the living items that have codes."""
    keys = living_keys(lake, version).select(KEYS)
    titled = living_items(lake).select("item_id", "title")
    coded = keys.join(codes_of(lake, codes_id), on=KEYS).join(titled, on="item_id")
    return coded.select("item_id", "title", "codes", "digit", name=NAME)


def _shared(alike: pl.DataFrame, levels: Sequence[int]) -> tuple[SharedPrefix, ...]:
    """Group items of the same first code by how many codes they share."""
    found, named = [], pl.Series([], dtype=pl.String)
    for length in range(len(levels), 0, -1):
        same = pl.all_horizontal(
            pl.col("codes").list.get(level) == code for level, code in enumerate(levels[:length])
        )
        sharing = alike.filter(same)
        first = sharing.filter(~pl.col("item_id").is_in(named.implode())).head(NUM_SHOWN)
        named = sharing["item_id"]
        found.append(
            SharedPrefix(
                prefix=told(levels[:length]),
                num_items=len(sharing),
                first=tuple(
                    CodedItem(item_id=item_id, title=title, codes=name)
                    for item_id, title, name in first.select("item_id", "title", "name").rows()
                ),
            )
        )
    return tuple(found)


def _used(lake: Lake, version: str) -> dict[str, str]:
    used = codebooks_in_use(lake, version)
    if used is None:
        raise NoCodes(f"version {version!r} has no codes; learn some with ponder codes learn")
    return used


def config_of(text: str) -> CodesConfig:
    """Return how codebooks were learned, as the lake tells it."""
    plain = json.loads(text)
    return CodesConfig(**plain | {"hidden_sizes": tuple(plain["hidden_sizes"])})


def _reconstruction(text: str) -> Reconstruction:
    plain = json.loads(text)
    return Reconstruction(**plain | {"error_by_level": tuple(plain["error_by_level"])})
