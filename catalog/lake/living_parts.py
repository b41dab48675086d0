"""What a model version has embedded of the living items, a range of ids at a time.

Ten million vectors are more than a machine's memory. They lie in the lake in the order in which
they were made, so both tables are read once and laid out on disk by ranges of ids, as many vectors
in each as fit; then each range is joined by itself. A catalogue of one range needs no disk.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from catalog.lake.item_codes import NAME, codes_in_use, codes_of
from catalog.lake.lake import Lake
from catalog.lake.living_embeddings import KEYS, embeddings_of, living_items, present_keys

PART_ROWS = 8_192  # with vectors of 1,024 dims 32 MB
MAX_PARTS = 400  # a file of each is open while both tables are laid out
SAMPLES_PER_PART = 64
BATCH_ROWS = 8_192

CODES = "codes"
"""A column that may be asked for as well: str, the codes of the content by the codebooks in use,
each with a `-` after it, such as `12-200-7-`, so that a prefix of the text is one of the codes;
empty where it has none."""


@dataclass(frozen=True, slots=True)
class IdRange:
    """The ids from `begin` to before `end`."""

    begin: str
    """"" is before every id."""

    end: str | None
    """None is after every id."""


@dataclass(frozen=True, slots=True)
class LivingPart:
    """The items of a range."""

    ids: IdRange

    held: pl.DataFrame
    """What is held already of the range; as `held_of` gave it."""

    rows: pl.DataFrame
    """In order of item_id: the asked columns of `items`, and
    content_hash       str, of the content that the vector was made of
    vector             list[f32], where vectors were asked for
    awaits_embedding   bool, true where that is an earlier content
    """


def living_parts(
    lake: Lake,
    version: str,
    *,
    columns: Sequence[str],
    held_of: Callable[[IdRange], pl.DataFrame],
    part_rows: int = PART_ROWS,
    with_vectors: bool = True,
) -> Iterator[LivingPart]:
    """Yield the living items that the version has embedded, in order of their ids.

    Which vector stands for an item is told in `catalog.lake.living_embeddings`. The ranges cover
    all ids, also where nothing lives; so whoever compares sees what is held and should not be.

    Args:
        lake: its tables.
        version: model version.
        columns: of `items`, item_id and content_hash apart; and `codes`, see `CODES`.
        held_of: item_id and content_hash, among others, of what is held of a range of ids. Of
            several earlier contents the held one is kept.
        part_rows: items of a range, about.
        with_vectors: false only tells which contents' vectors stand for the items, and reads less.
    """
    of_items = [name for name in columns if name != CODES]
    items = living_items(lake).select("item_id", *of_items, present_hash="content_hash")
    codes = _codes(lake, version) if CODES in columns else None
    embedded = embeddings_of(lake, version).select(KEYS + ["vector"] * with_vectors)
    ranges = _ranges(items, part_rows=part_rows)
    if len(ranges) == 1:
        yield _part(ranges[0], held_of(ranges[0]), items, embedded, codes)
        return
    begins = pl.Series([ids.begin for ids in ranges[1:]])
    with tempfile.TemporaryDirectory(prefix="ponder-") as folder:
        laid_items = _laid_out(items, begins, Path(folder) / "items")
        laid_embedded = _laid_out(embedded, begins, Path(folder) / "embedded")
        laid_codes = None if codes is None else _laid_out(codes, begins, Path(folder) / "codes")
        for number, ids in enumerate(ranges):
            held = held_of(ids)  # before the range is read: it may take memory of its own
            coded = None if laid_codes is None else laid_codes(number)
            yield _part(ids, held, laid_items(number), laid_embedded(number), coded)


def _ranges(items: pl.LazyFrame, *, part_rows: int) -> list[IdRange]:
    """Return ranges of about as many items each, told by a sample of the ids."""
    num_items = items.select(pl.len()).collect().item()
    num_parts = min(-(-num_items // part_rows), MAX_PARTS)
    begins: list[str] = []
    if num_parts > 1:
        every = max(num_items // (num_parts * SAMPLES_PER_PART), 1)
        is_sampled = pl.col("item_id").hash() % every == 0
        sample = items.select("item_id").filter(is_sampled).collect(engine="streaming")
        ids = sample["item_id"].unique().sort()
        begins = [ids[len(ids) * part // num_parts] for part in range(1, num_parts)]
    begins = list(dict.fromkeys(begins))
    ends: list[str | None] = [*begins, None]
    return [IdRange(begin, end) for begin, end in zip(["", *begins], ends, strict=True)]


def _laid_out(
    frame: pl.LazyFrame, begins: pl.Series, folder: Path
) -> Callable[[int], pl.LazyFrame]:
    """Write a frame's rows by range of item_id; return what reads the rows of one."""
    folder.mkdir()
    schema = frame.collect_schema().to_frame().to_arrow().schema
    with ExitStack() as files:
        writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        for batch in frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False):
            number = begins.search_sorted(batch["item_id"], side="right").alias("number")
            for rows in batch.with_columns(number).partition_by("number"):
                at = rows["number"][0]
                if at not in writers:
                    path = str(folder / str(at))
                    writers[at] = files.enter_context(pa.ipc.new_stream(path, schema))
                writers[at].write_table(rows.drop("number").to_arrow().cast(schema))

    def read(number: int) -> pl.LazyFrame:
        path = folder / str(number)
        rows = pl.read_ipc_stream(path) if path.exists() else frame.collect_schema().to_frame()
        path.unlink(missing_ok=True)
        return rows.lazy()

    return read


def _codes(lake: Lake, version: str) -> pl.LazyFrame:
    """Scan the codes of contents by the codebooks in use, in the columns of `KEYS` and `CODES`."""
    codes_id = codes_in_use(lake, version)
    if codes_id is None:
        return pl.LazyFrame(schema=dict.fromkeys([*KEYS, CODES], pl.String))
    return codes_of(lake, codes_id).select(*KEYS, (NAME + "-").alias(CODES))


def _part(
    ids: IdRange,
    held: pl.DataFrame,
    items: pl.LazyFrame,
    embedded: pl.LazyFrame,
    codes: pl.LazyFrame | None,
) -> LivingPart:
    keys = present_keys(embedded.select(KEYS), items.select("item_id", "present_hash"), held=held)
    vectors = keys.join(embedded, on=KEYS, maintain_order="left")  # and so in order of item_id
    described = items.drop("present_hash")
    rows = vectors.join(described, on="item_id", maintain_order="left")
    if codes is not None:
        rows = rows.join(codes, on=KEYS, how="left", maintain_order="left").with_columns(
            pl.col(CODES).fill_null("")
        )
    return LivingPart(ids, held, rows.collect())
