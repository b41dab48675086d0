"""Tests for catalog/lake/row_groups.py: how long the groups of a table's files are."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from catalog.lake.lake import Lake
from catalog.lake.maintenance import compact
from catalog.lake.tables import EMBEDDINGS


def embeddings(first, count):
    numbers = range(first, first + count)
    columns = {
        "item_id": [f"i{n}" for n in numbers],
        "content_hash": ["c"] * count,
        "model_version": ["v"] * count,
        "vector": [[float(n)] for n in numbers],
    }
    rows = {name: columns.get(name, [None] * count) for name in EMBEDDINGS.schema}
    return pl.DataFrame(rows, schema=EMBEDDINGS.schema)


def group_lengths(lake):
    """Return the lengths of the row groups of each of the table's files, longest first."""
    delta = lake.delta(EMBEDDINGS)
    files = [pq.ParquetFile(uri).metadata for uri in delta.file_uris()]
    return sorted(
        ([file.row_group(n).num_rows for n in range(file.num_row_groups)] for file in files),
        reverse=True,
    )


def test_no_writer_of_vectors_makes_longer_groups_than_the_table_asks_for(tmp_path):
    lake = Lake(str(tmp_path))
    lake.insert_new(EMBEDDINGS, embeddings(0, 1_500))
    assert group_lengths(lake) == [[1_024, 476]]
    lake.insert_new(EMBEDDINGS, embeddings(1_500, 1_500))
    compact(lake)
    assert group_lengths(lake) == [[1_024, 1_024, 952]]
    lake.delete(EMBEDDINGS, embeddings(0, 1).select(EMBEDDINGS.key))
    assert max(length for file in group_lengths(lake) for length in file) <= 1_024
    assert sum(length for file in group_lengths(lake) for length in file) == 2_999


def test_a_vector_takes_no_more_room_than_its_numbers(tmp_path):
    lake = Lake(str(tmp_path))
    rows = embeddings(0, 1_000)
    vectors = pl.Series("vector", np.random.default_rng(0).normal(size=(1_000, 64)).tolist())
    lake.insert_new(EMBEDDINGS, rows.with_columns(vectors.cast(pl.List(pl.Float32))))
    [uri] = lake.delta(EMBEDDINGS).file_uris()
    group = pq.ParquetFile(uri).metadata.row_group(0)
    columns = {c.path_in_schema: c for c in map(group.column, range(group.num_columns))}
    num_bytes = 1_000 * 64 * 4
    assert num_bytes < columns["vector.list.element"].total_compressed_size < 1.02 * num_bytes
    assert columns["model_version"].total_compressed_size < 200
