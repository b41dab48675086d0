"""The lake's vectors of one model version as blocks of files, kept in step with the lake.

What the blocks hold is compared with the lake by key, content and columns; only what is new is read
with its vector, some thousand rows at a time. The comparison holds a row of some 100 bytes for each
item in memory, and what is new its keys and what filters ask about; see docs/scale.md.
"""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.living_embeddings import KEYS, embeddings_of, living_items, living_keys
from catalog.lake.tables import EMBEDDINGS, ITEMS
from recall.attributes import attribute_table, tag_table
from recall.blocks import ROWS, Block, BlockFolder, BlockName, OpenState, State
from recall.rows import index_rows, vector_matrix

logger = logging.getLogger(__name__)

SOURCES = (ITEMS, EMBEDDINGS)
COLUMNS = ("category", "tags", "attributes", "created_at")
SAME = [*KEYS, "fingerprint"]
ROWS_AT_ONCE = 8_192
FEW_ROWS = 10_000  # are looked for by their ids before vectors are read

MAX_BLOCKS = 8
MAX_DEAD_SHARE = 0.25


class LakeVectors:
    """Writes the blocks of one version; several processes may, one at a time."""

    def __init__(self, lake: Lake, folder: BlockFolder, version: str) -> None:
        """Write nothing yet."""
        self._lake, self._folder, self._version = lake, folder, version

    def refresh(self, *, wait: bool = False) -> bool:
        """Take in what changed in the lake; return whether there is a new state.

        Without `wait` False as well while another process writes: its state will do soon.

        Raises:
            ValueError: a vector in the lake is no good.
        """
        with self._folder.writing(wait=wait) as is_ours:
            if not is_ours:
                return False
            # Asked before anything is read: what is committed meanwhile is seen the next time.
            source = {table.name: self._lake.version(table) for table in SOURCES}
            state = self._folder.state()
            if state.source == source:
                return False
            opened = self._folder.open(state)
            self._folder.commit(self._caught_up(opened, source))
            return True

    def _caught_up(self, opened: OpenState, source: dict[str, int | None]) -> State:
        new, gone = self._compared(opened)
        is_live_N = opened.is_live_N.copy()
        is_live_N[gone] = False
        blocks, dim = list(opened.state.blocks), opened.state.dim
        if written := self._folder.write_block(self._new_parts(new, dim=dim)):
            block, dim = written
            blocks.append(block)
            is_live_N = np.append(is_live_N, self._folder.is_first(block))
        logger.info(
            "refreshed version=%s new=%d gone=%d", self._version, len(new), (~is_live_N).sum()
        )
        return self._compacted(blocks, is_live_N, dim=dim, source=source)

    def _compared(self, opened: OpenState) -> tuple[pl.DataFrame, np.ndarray]:
        """Return what is to be read, in the columns of `SAME`, and which rows count no more."""
        held = _held(opened)
        wanted = self._wanted(held)
        gone = held.join(wanted, on=SAME, how="anti")["row"].to_numpy()
        return wanted.join(held, on=SAME, how="anti"), gone

    def _wanted(self, held: pl.DataFrame) -> pl.DataFrame:
        columns = living_items(self._lake).select("item_id", *COLUMNS)
        fingerprint = pl.struct(pl.col(COLUMNS)).hash().alias("fingerprint")
        keys = living_keys(self._lake, self._version, held=held).select(KEYS)
        return keys.join(columns.select("item_id", fingerprint), on="item_id").collect()

    def _new_parts(self, new: pl.DataFrame, *, dim: int) -> Iterator[Block]:
        """Yield blocks of what is to be read; with a `dim` of 0 that of the first vector holds."""
        if new.is_empty():
            return
        vectors = embeddings_of(self._lake, self._version).select(*KEYS, "vector")
        columns = living_items(self._lake).select("item_id", *COLUMNS)
        if len(new) <= FEW_ROWS:
            is_new = pl.col("item_id").is_in(new["item_id"].implode())
            vectors, columns = vectors.filter(is_new), columns.filter(is_new)
        described = new.lazy().join(columns, on="item_id").sort("item_id").collect()
        for batch in vectors.collect_batches(chunk_size=ROWS_AT_ONCE, maintain_order=False):
            rows = _described(batch, described)
            once = rows.unique("item_id")  # an audit finds and mends what the lake holds twice
            for part in once.iter_slices(ROWS_AT_ONCE):
                dim = dim or len(part["vector"][0])
                yield _block(part, dim=dim)

    def _compacted(
        self,
        names: Sequence[BlockName],
        is_live_N: np.ndarray,
        *,
        dim: int,
        source: dict[str, int | None],
    ) -> State:
        """Return the state of these blocks, many small ones or many dead rows made one block."""
        is_wasteful = (~is_live_N).sum() > MAX_DEAD_SHARE * len(is_live_N)
        if not is_wasteful and len(names) <= MAX_BLOCKS:
            dead = self._folder.write_dead(np.flatnonzero(~is_live_N))
            return State(dim=dim, blocks=tuple(names), dead=dead, source=source)
        state = State(dim=dim, blocks=tuple(names), dead="", source=source)
        blocks = self._folder.open(state).blocks
        lives = np.split(is_live_N, np.cumsum([block.num_rows for block in names])[:-1])
        stays = [not is_wasteful and 2 * name.num_rows > len(is_live_N) for name in names]
        merged = self._folder.write_block(
            part
            for block, is_live, stay in zip(blocks, lives, stays, strict=True)
            if not stay
            for part in block.parts(is_live, num_rows=ROWS_AT_ONCE)
        )
        kept = [name for name, stay in zip(names, stays, strict=True) if stay]
        kept_lives = [live for live, stay in zip(lives, stays, strict=True) if stay]
        is_dead_N = ~np.concatenate([np.empty(0, dtype=bool), *kept_lives])
        dead = self._folder.write_dead(np.flatnonzero(is_dead_N))
        new = [merged[0]] if merged else []
        return State(dim=dim, blocks=(*kept, *new), dead=dead, source=source)


def _held(opened: OpenState) -> pl.DataFrame:
    """Return KEYS, fingerprint and row of everything that counts."""
    rows = [block.rows.select(SAME) for block in opened.blocks]
    held = pl.concat([pl.DataFrame(schema={name: ROWS[name] for name in SAME}), *rows])
    return held.with_row_index("row").filter(pl.Series(opened.is_live_N, dtype=pl.Boolean))


def _described(batch: pl.DataFrame, described: pl.DataFrame) -> pl.DataFrame:
    """Return the rows whose KEYS are described, in order of item_id, with their columns.

    Looked up and not joined: a streaming join holds all vectors until it knows both sides.
    """
    if described.is_empty():
        return batch.clear().with_columns(described.drop(KEYS))
    places = described["item_id"].search_sorted(batch["item_id"])
    there = described[np.minimum(places.to_numpy(), len(described) - 1)]
    is_there = (there["item_id"] == batch["item_id"]) & (
        there["content_hash"] == batch["content_hash"]
    )
    return pl.concat([batch, there.drop(KEYS)], how="horizontal").filter(is_there)


def _block(rows: pl.DataFrame, *, dim: int) -> Block:
    kept = index_rows(rows, dim=dim).with_columns(rows["fingerprint"])
    return Block(
        vectors_ND=vector_matrix(kept["vector"], dim=dim),
        rows=kept.select(pl.col(name).cast(dtype) for name, dtype in ROWS.items()),
        tags=tag_table(kept["tags"]),
        attributes=attribute_table(kept["attributes"]),
    )
