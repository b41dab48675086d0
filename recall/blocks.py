"""The vectors of one model version as files: written once, mapped into memory, never changed.

A folder holds blocks and `current.json`, which names those that are in use and the rows of them
that still count. It is replaced in one step, so whoever reads it sees one state of the whole
folder; a block that is no longer named is removed, and stays readable for those who have it open.
The rows of a block are in order of item_id, and no more than are easily held in memory.

Shape legend: N = rows of a block or part, D = embedding dimension.
"""

import fcntl
import json
import mmap
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl

from catalog.atomic_file import write_atomically
from recall.attributes import ATTRIBUTES, TAGS
from recall.rows import norms

CURRENT = "current.json"
LAYOUT = 3  # of the files; what an earlier release wrote otherwise is written again
BLOCK_ROWS = 32_768  # a block is closed when it has so many
ATTEMPTS = 10  # to open blocks before a writer has replaced them

ROWS = pl.Schema(
    {
        "item_id": pl.String,
        "category": pl.String,
        "created_at": pl.Int64,  # microseconds since 1970, UTC
        "codes": pl.String,  # as of `catalog.lake.living_parts`
    }
)
"""What a search may ask of a row."""

HASHES = pl.Schema(
    {
        "content_hash": pl.String,
        "row_hash": pl.String,
        "fingerprint": pl.UInt64,  # of the lake's columns that filters ask about
    }
)
"""What rows are compared by. Most of a row but for its vector, and no search needs it."""


@dataclass(frozen=True, slots=True)
class BlockName:
    """A block as the state names it."""

    name: str
    num_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Which blocks make up a version's vectors, and what they were made of."""

    dim: int
    """D; 0 while there is no block."""

    blocks: tuple[BlockName, ...]

    dead: str
    """File that tells which rows no longer count; empty: all count."""

    source: dict[str, int | None]
    """Commits of the lake's tables that this is the state of."""

    @property
    def num_rows(self) -> int:
        """Rows of all blocks, those that no longer count included."""
        return sum(block.num_rows for block in self.blocks)


NOTHING = State(dim=0, blocks=(), dead="", source={})


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows in memory, on their way into a block."""

    vectors_ND: np.ndarray
    """float32, of any length but zero."""

    rows: pl.DataFrame
    """In the columns of `ROWS` and of `HASHES`, in order of item_id."""

    tags: pl.DataFrame
    """In the columns of `recall.attributes.TAGS`."""

    attributes: pl.DataFrame
    """In the columns of `recall.attributes.ATTRIBUTES`."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Rows with their vectors, mapped from files, and what filters ask about."""

    vectors_ND: np.ndarray
    """L2-normalised float32."""

    rows: pl.DataFrame
    """In the columns of `ROWS`, in order of item_id."""

    hashes: Callable[[], pl.DataFrame]
    """Reads the columns of `HASHES`, each time from the file: they are in memory while in use."""

    tags: Callable[[], pl.DataFrame]
    """Reads the columns of `recall.attributes.TAGS`, sorted by tag; they stay in memory then."""

    attributes: Callable[[], pl.DataFrame]
    """Reads the columns of `recall.attributes.ATTRIBUTES`, sorted by name; they stay as well."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenState:
    """A state with its blocks open; what is removed meanwhile stays readable."""

    state: State
    blocks: tuple[Block, ...]
    is_live_N: np.ndarray
    """Which rows of all blocks count."""


def merged(
    blocks: Sequence[Block], lives: Sequence[np.ndarray], *, num_rows: int
) -> Iterator[Part]:
    """Yield the rows that count of several blocks, in order of item_id, `num_rows` at a time.

    Args:
        blocks: with an item in one of them at most, among the rows that count.
        lives: for each block [N] bool, which rows count.
        num_rows: of a part.
    """
    rows_of = [np.flatnonzero(live) for live in lives]
    ids = [block.rows["item_id"].gather(rows) for block, rows in zip(blocks, rows_of, strict=True)]
    order = pl.concat([pl.Series([], dtype=pl.String), *ids]).arg_sort().to_numpy()
    number = np.repeat(np.arange(len(blocks)), [len(rows) for rows in rows_of])[order]
    row = np.concatenate([np.empty(0, dtype=np.int64), *rows_of])[order]
    for begin in range(0, len(order), num_rows):
        part = slice(begin, begin + num_rows)
        yield _gathered(blocks, number[part], row[part])


def _gathered(blocks: Sequence[Block], number_N: np.ndarray, row_N: np.ndarray) -> Part:
    """Return rows of several blocks, each told by the number of its block and its row there."""
    vectors_ND = np.empty((len(row_N), blocks[0].vectors_ND.shape[1]), dtype=np.float32)
    rows, tags, attributes = [], [], []
    for number in np.unique(number_N):
        block, places = blocks[number], np.flatnonzero(number_N == number)
        here = row_N[places]
        vectors_ND[places] = block.vectors_ND[here]
        rows.append(pl.concat([block.rows[here], block.hashes()[here]], how="horizontal"))
        moved = pl.DataFrame({"row": here, "moved": places}).cast(pl.UInt32)
        tags.append(_moved(block.tags(), moved))
        attributes.append(_moved(block.attributes(), moved))
    return Part(
        vectors_ND=vectors_ND,
        rows=pl.concat(rows).sort("item_id"),
        tags=pl.concat(tags),
        attributes=pl.concat(attributes),
    )


def _moved(table: pl.DataFrame, moved: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a long table that are kept, under their new numbers."""
    joined = table.join(moved, on="row", how="inner", maintain_order="left")
    return joined.with_columns(row="moved").drop("moved")


def _reader(path: Path) -> Callable[[], pl.DataFrame]:
    """Return what reads a table; also when the file was removed, and leaving nothing in memory."""
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def read() -> pl.DataFrame:
        try:
            return pl.read_ipc(mapped[:])
        finally:
            mapped.madvise(mmap.MADV_DONTNEED)  # or the pages would count as this process's

    return read


def _unit(vectors_ND: np.ndarray) -> np.ndarray:
    unit_ND = np.empty(vectors_ND.shape, dtype=np.float32)
    return np.divide(vectors_ND, norms(vectors_ND)[:, None], out=unit_ND, casting="same_kind")


class BlockFolder:
    """The blocks of one version; any number of readers, and one writer at a time."""

    def __init__(self, folder: Path) -> None:
        """Point at a folder, which need not exist."""
        self.folder = folder

    def state(self) -> State:
        """Return the present state; `NOTHING` before the first commit."""
        try:
            told = json.loads((self.folder / CURRENT).read_text())
        except FileNotFoundError:
            return NOTHING
        if told.pop("layout", None) != LAYOUT:
            return NOTHING
        blocks = tuple(BlockName(**block) for block in told.pop("blocks"))
        return State(blocks=blocks, **told)

    def open(self, state: State | None = None) -> OpenState:
        """Open the blocks of a state; None: of the present one, whatever is committed meanwhile."""
        if state is not None:
            return self._open(state)
        for _ in range(ATTEMPTS):
            try:
                return self._open(self.state())
            except FileNotFoundError:  # replaced between its reading and its opening
                continue
        raise RuntimeError(f"{self.folder} must hold the blocks that {CURRENT} names; delete it")

    def _open(self, state: State) -> OpenState:
        is_live_N = np.ones(state.num_rows, dtype=bool)
        if state.dead:
            is_live_N[np.load(self.folder / state.dead)] = False
        blocks = tuple(self._open_block(block, state.dim) for block in state.blocks)
        return OpenState(state, blocks, is_live_N)

    def _open_block(self, block: BlockName, dim: int) -> Block:
        path = self.folder / block.name
        return Block(
            vectors_ND=np.asarray(
                np.memmap(
                    path.with_suffix(".vectors"), np.float32, "r", shape=(block.num_rows, dim)
                )
            ),
            rows=pl.read_ipc(path.with_suffix(".rows")),
            hashes=_reader(path.with_suffix(".hashes")),
            tags=cache(_reader(path.with_suffix(".tags"))),
            attributes=cache(_reader(path.with_suffix(".attributes"))),
        )

    @contextmanager
    def writing(self, *, wait: bool) -> Iterator[bool]:
        """Hold the folder for writing; without `wait` False when another process or thread does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True  # closing the file gives it back, and so does a kill

    def write_blocks(self, parts: Iterable[Part]) -> tuple[list[BlockName], int]:
        """Write parts as blocks; return their names, and D, which is 0 where there is no part.

        One part is in memory with its vectors, and one block without.

        Args:
            parts: in order of item_id, also from one to the next.
        """
        names, dim, left = [], 0, iter(parts)
        for first in left:
            names.append(self._write_block(chain([first], left)))
            dim = first.vectors_ND.shape[1]
        return names, dim

    def _write_block(self, parts: Iterator[Part]) -> BlockName:
        """Write parts until the block is full; the others are left in `parts`."""
        path, num_rows = self.folder / f"block-{secrets.token_hex(8)}", 0
        rows, tags, attributes = [], [TAGS.to_frame()], [ATTRIBUTES.to_frame()]
        with open(path.with_suffix(".vectors"), "wb") as file:
            for part in parts:
                below = pl.col("row") + pl.lit(num_rows, pl.UInt32)
                file.write(_unit(part.vectors_ND).data)
                rows.append(part.rows)
                tags.append(part.tags.with_columns(below))
                attributes.append(part.attributes.with_columns(below))
                num_rows += len(part.rows)
                if num_rows >= BLOCK_ROWS:
                    break
        together = pl.concat(rows).rechunk()
        together.select(ROWS.names()).write_ipc(path.with_suffix(".rows"))
        together.select(HASHES.names()).write_ipc(path.with_suffix(".hashes"))
        pl.concat(tags).sort("tag", "row").write_ipc(path.with_suffix(".tags"))
        pl.concat(attributes).sort("name", "row").write_ipc(path.with_suffix(".attributes"))
        return BlockName(path.name, num_rows)

    def write_dead(self, dead_rows: np.ndarray) -> str:
        """Write which rows no longer count, and return the file's name; empty for none."""
        if not len(dead_rows):
            return ""
        path = self.folder / f"dead-{secrets.token_hex(8)}.npy"
        np.save(path, dead_rows)
        return path.name

    def commit(self, state: State) -> None:
        """Make a state the present one, and remove what it does not name."""
        told = asdict(state) | {"layout": LAYOUT}
        write_atomically(self.folder / CURRENT, json.dumps(told))
        named = {block.name for block in state.blocks} | {state.dead.removesuffix(".npy")}
        for path in self.folder.iterdir():
            if path.name.startswith(("block-", "dead-", ".")) and path.stem not in named:
                path.unlink(missing_ok=True)
