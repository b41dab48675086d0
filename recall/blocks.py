"""The vectors of one model version as files: written once, mapped into memory, never changed.

A folder holds blocks and `current.json`, which names those that are in use and the rows of them
that still count. It is replaced in one step, so whoever reads it sees one state of the whole
folder; a block that is no longer named is removed, and stays readable for those who have it open.

Shape legend: N = rows of a block, D = embedding dimension.
"""

import fcntl
import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from catalog.atomic_file import write_atomically
from recall.attributes import ATTRIBUTES, TAGS
from recall.rows import norms

CURRENT = "current.json"
ATTEMPTS = 10  # to open blocks before a writer has replaced them

ROWS = pl.Schema(
    {
        "item_id": pl.String,
        "content_hash": pl.String,
        "row_hash": pl.String,
        "category": pl.String,
        "created_at": pl.Int64,  # microseconds since 1970, UTC
        "fingerprint": pl.UInt64,  # of the lake's columns that filters ask about
    }
)


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
class Block:
    """Rows with their vectors and what filters ask about."""

    vectors_ND: np.ndarray
    """L2-normalised float32, mapped from the file."""

    rows: pl.DataFrame
    """In the columns of `ROWS`."""

    tags: pl.DataFrame
    """In the columns of `recall.attributes.TAGS`, sorted by tag."""

    attributes: pl.DataFrame
    """In the columns of `recall.attributes.ATTRIBUTES`, sorted by name."""

    def parts(self, is_kept_N: np.ndarray, *, num_rows: int) -> Iterator["Block"]:
        """Yield the rows to keep, `num_rows` of the block at a time."""
        for begin in range(0, len(self.rows), num_rows):
            kept = np.flatnonzero(is_kept_N[begin : begin + num_rows])
            if len(kept):
                yield self._part(begin + kept)

    def _part(self, kept: np.ndarray) -> "Block":
        moved = pl.DataFrame({"row": kept.astype(np.uint32)}).with_row_index("moved")
        return Block(
            vectors_ND=self.vectors_ND[kept],
            rows=self.rows[kept],
            tags=_moved(self.tags, moved),
            attributes=_moved(self.attributes, moved),
        )


@dataclass(frozen=True, slots=True, eq=False)
class OpenState:
    """A state with its blocks open; what is removed meanwhile stays readable."""

    state: State
    blocks: tuple[Block, ...]
    is_live_N: np.ndarray
    """Which rows of all blocks count."""


def _moved(table: pl.DataFrame, moved: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a long table that are kept, under their new numbers."""
    joined = table.join(moved, on="row", how="inner", maintain_order="left")
    return joined.with_columns(row="moved").drop("moved")


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
            tags=pl.read_ipc(path.with_suffix(".tags")),
            attributes=pl.read_ipc(path.with_suffix(".attributes")),
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

    def write_block(self, parts: Iterable[Block]) -> tuple[BlockName, int] | None:
        """Write parts as one block, and return its name and D; None when there are no rows.

        Only one part at a time is in memory with its vectors, which need not be normalised.
        """
        path = self.folder / f"block-{secrets.token_hex(8)}"
        rows, tags, attributes = [ROWS.to_frame()], [TAGS.to_frame()], [ATTRIBUTES.to_frame()]
        dim = num_rows = 0
        with open(path.with_suffix(".vectors"), "wb") as file:
            for part in parts:
                dim, below = part.vectors_ND.shape[1], pl.col("row") + pl.lit(num_rows, pl.UInt32)
                file.write(_unit(part.vectors_ND).data)
                rows.append(part.rows)
                tags.append(part.tags.with_columns(below))
                attributes.append(part.attributes.with_columns(below))
                num_rows += len(part.rows)
        if not num_rows:
            path.with_suffix(".vectors").unlink()
            return None
        pl.concat(rows).rechunk().write_ipc(path.with_suffix(".rows"))
        pl.concat(tags).sort("tag", "row").write_ipc(path.with_suffix(".tags"))
        pl.concat(attributes).sort("name", "row").write_ipc(path.with_suffix(".attributes"))
        return BlockName(path.name, num_rows), dim

    def is_first(self, block: BlockName) -> np.ndarray:
        """Return [N] bool, which rows of a block are the first of their item."""
        rows = pl.read_ipc((self.folder / block.name).with_suffix(".rows"), columns=["item_id"])
        return rows["item_id"].is_first_distinct().to_numpy()

    def write_dead(self, dead_rows: np.ndarray) -> str:
        """Write which rows no longer count, and return the file's name; empty for none."""
        if not len(dead_rows):
            return ""
        path = self.folder / f"dead-{secrets.token_hex(8)}.npy"
        np.save(path, dead_rows)
        return path.name

    def commit(self, state: State) -> None:
        """Make a state the present one, and remove what it does not name."""
        write_atomically(self.folder / CURRENT, json.dumps(asdict(state)))
        named = {block.name for block in state.blocks} | {state.dead.removesuffix(".npy")}
        for path in self.folder.iterdir():
            if path.name.startswith(("block-", "dead-", ".")) and path.stem not in named:
                path.unlink(missing_ok=True)
