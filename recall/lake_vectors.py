"""The lake's vectors of one model version as blocks of files, kept in step with the lake.

What the blocks hold is compared with the lake by key, content and columns, a range of ids at a
time, and only what is new is read with its vector. So the memory that it takes hardly grows with
the catalogue; see docs/scale.md.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import compress

import numpy as np
import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.living_embeddings import KEYS, embeddings_of
from catalog.lake.living_parts import IdRange, LivingPart, living_parts
from catalog.lake.tables import CODEBOOKS, CODES, EMBEDDINGS, ITEMS
from recall.attributes import attribute_table, tag_table
from recall.blocks import (
    BLOCK_ROWS,
    HASHES,
    ROWS,
    BlockFolder,
    BlockName,
    OpenState,
    Part,
    State,
    merged,
)
from recall.rows import index_rows, vector_matrix

logger = logging.getLogger(__name__)

SOURCES = (ITEMS, EMBEDDINGS, CODES, CODEBOOKS)
COLUMNS = ("category", "tags", "attributes", "created_at", "codes")
SAME = [*KEYS, "fingerprint"]
HELD = pl.Schema({name: (ROWS | HASHES)[name] for name in SAME} | {"row": pl.Int64})
ROWS_AT_ONCE = 8_192
FEW_ROWS = 10_000  # are looked for by their ids, and not by reading all vectors

MAX_SMALL_BLOCKS = 8
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
        dim, gone = opened.state.dim, list[np.ndarray]()  # filled as the parts are read
        few = self._few_new(opened, gone) if opened.blocks else None
        if few is None:
            gone.clear()
            parts = self._all_new(opened, gone, dim=dim)
        else:
            parts = self._with_vectors(few, dim=dim)
        written, new_dim = self._folder.write_blocks(parts)
        num_new = sum(block.num_rows for block in written)
        is_live_N = np.append(opened.is_live_N, np.ones(num_new, dtype=bool))
        is_live_N[np.concatenate([np.empty(0, dtype=np.int64), *gone])] = False
        logger.info(
            "refreshed version=%s new=%d gone=%d", self._version, num_new, (~is_live_N).sum()
        )
        blocks = [*opened.state.blocks, *written]
        return self._compacted(blocks, is_live_N, dim=dim or new_dim, source=source)

    def _few_new(self, opened: OpenState, gone: list[np.ndarray]) -> pl.DataFrame | None:
        """Return what is to be read, without vectors; None where that is more than a few rows.

        Which rows count no more is appended to `gone`.
        """
        found, num_new = list[pl.DataFrame](), 0
        for part in self._parts(opened, with_vectors=False):
            new = _compared(part, gone)
            found, num_new = [*found, new], num_new + len(new)
            if num_new > FEW_ROWS:
                return None
        return pl.concat(found)

    def _with_vectors(self, few: pl.DataFrame, *, dim: int) -> Iterator[Part]:
        """Yield what `_few_new` found, with vectors."""
        if few.is_empty():
            return
        is_new = pl.col("item_id").is_in(few["item_id"].implode())
        vectors = embeddings_of(self._lake, self._version).select(*KEYS, "vector")
        found = vectors.filter(is_new).collect(engine="streaming")
        yield from _cut(few.join(found, on=KEYS, maintain_order="left"), dim=dim)

    def _all_new(self, opened: OpenState, gone: list[np.ndarray], *, dim: int) -> Iterator[Part]:
        """Yield what is new, a range of ids at a time; with a `dim` of 0 the first vector's holds.

        Which rows count no more is appended to `gone`.
        """
        for part in self._parts(opened, with_vectors=True):
            new = _compared(part, gone)
            if len(new):
                dim = dim or len(new["vector"][0])
                yield from _cut(new, dim=dim)

    def _parts(self, opened: OpenState, *, with_vectors: bool) -> Iterator[LivingPart]:
        return living_parts(
            self._lake,
            self._version,
            columns=COLUMNS,
            held_of=_held_of(opened),
            with_vectors=with_vectors,
        )

    def _compacted(
        self,
        names: Sequence[BlockName],
        is_live_N: np.ndarray,
        *,
        dim: int,
        source: dict[str, int | None],
    ) -> State:
        """Return the state of these blocks, many small ones or many dead rows written anew."""
        lives = np.split(is_live_N, np.cumsum([block.num_rows for block in names]))[:-1]
        moves = _to_be_merged(names, lives)
        state = State(dim=dim, blocks=tuple(names), dead="", source=source)
        new = list[BlockName]()
        if any(moves):
            blocks = list(compress(self._folder.open(state).blocks, moves))
            parts = merged(blocks, list(compress(lives, moves)), num_rows=ROWS_AT_ONCE)
            new, _ = self._folder.write_blocks(parts)
        kept = [name for name, m in zip(names, moves, strict=True) if not m]
        kept_lives = [live for live, m in zip(lives, moves, strict=True) if not m]
        is_dead_N = ~np.concatenate([np.empty(0, dtype=bool), *kept_lives])
        dead = self._folder.write_dead(np.flatnonzero(is_dead_N))
        return State(dim=dim, blocks=(*kept, *new), dead=dead, source=source)


def _to_be_merged(names: Sequence[BlockName], lives: Sequence[np.ndarray]) -> list[bool]:
    """Return which blocks are to be written anew, as one or as several full ones."""
    num_dead = [int((~live).sum()) for live in lives]
    is_small = [2 * name.num_rows < BLOCK_ROWS for name in names]
    is_wasteful = [
        dead > MAX_DEAD_SHARE * name.num_rows for name, dead in zip(names, num_dead, strict=True)
    ]
    num_rows = sum(name.num_rows for name in names)
    is_due = sum(is_small) > MAX_SMALL_BLOCKS or sum(num_dead) > MAX_DEAD_SHARE * num_rows
    return [
        is_due and (small or wasteful)
        for small, wasteful in zip(is_small, is_wasteful, strict=True)
    ]


def _held_of(opened: OpenState) -> Callable[[IdRange], pl.DataFrame]:
    """Return what tells of a range of ids which rows count, in the columns of `HELD`."""
    starts = np.cumsum([0, *(len(block.rows) for block in opened.blocks)])

    def held(ids: IdRange) -> pl.DataFrame:
        found = [HELD.to_frame()]
        for block, start in zip(opened.blocks, starts, strict=False):
            item_ids = block.rows["item_id"]
            begin = int(item_ids.search_sorted(ids.begin))
            end = len(item_ids) if ids.end is None else int(item_ids.search_sorted(ids.end))
            if begin == end:
                continue
            rows = pl.concat([block.rows, block.hashes()], how="horizontal")[begin:end]
            numbered = rows.select(*SAME, row=pl.int_range(start + begin, start + end))
            found.append(numbered.filter(opened.is_live_N[start + begin : start + end]))
        return pl.concat(found)

    return held


def _compared(part: LivingPart, gone: list[np.ndarray]) -> pl.DataFrame:
    """Return what is new, with its fingerprint; what counts no more is appended to `gone`."""
    # Each item once: an audit finds and mends what the lake holds twice.
    once = part.rows.unique("item_id", keep="first", maintain_order=True)
    wanted = once.with_columns(fingerprint=pl.struct(COLUMNS).hash())
    gone.append(part.held.join(wanted, on=SAME, how="anti")["row"].to_numpy())
    return wanted.join(part.held, on=SAME, how="anti", maintain_order="left")


def _cut(rows: pl.DataFrame, *, dim: int) -> Iterator[Part]:
    once = rows.unique("item_id", keep="first", maintain_order=True)
    for some in once.iter_slices(ROWS_AT_ONCE):
        kept = index_rows(some, dim=dim).with_columns(some["fingerprint"])
        yield Part(
            vectors_ND=vector_matrix(kept["vector"], dim=dim),
            rows=kept.select(pl.col(n).cast(dtype) for n, dtype in (ROWS | HASHES).items()),
            tags=tag_table(kept["tags"]),
            attributes=attribute_table(kept["attributes"]),
        )
