"""Tests for recall/versions.py, on Milvus Lite."""

import socket
import subprocess
import sys

import pytest

from recall.collection import IndexConfig
from recall.errors import NotFound, Unavailable
from recall.index import ItemIndex


@pytest.fixture(scope="module")
def three(index, rows):
    for version in ("v1", "v2", "v3"):
        index.sync(version, rows(a=[1, 0]), dim=2)
    return index


def test_the_alias_leads_to_what_was_promoted_and_its_collection_cannot_be_dropped(three):
    assert three.live_version() is None
    three.promote("v1")
    three.promote("v2")
    three.promote("v2")  # again: nothing changes
    assert three.live_version() == "v2"
    with pytest.raises(ValueError, match="'v2' is live"):
        three.drop("v2")
    three.drop("v1")
    assert three.versions() == ["v2", "v3"]
    assert three.live_version() == "v2"
    three.promote("v3")
    assert three.live_version() == "v3"


@pytest.mark.parametrize("operation", ["promote", "drop"])
def test_a_version_without_a_collection_is_named(three, operation):
    with pytest.raises(NotFound, match="'v9' must have a collection"):
        getattr(three, operation)("v9")


def test_another_process_finds_what_this_one_left(tmp_path):
    folder = str(tmp_path / "cold.db")
    code = f"""
import sys
import numpy as np, polars as pl
from recall.collection import IndexConfig
from recall.index import ItemIndex
with ItemIndex.open(IndexConfig(uri={folder!r})) as index:
    if sys.argv[1] == "write":
        rows = pl.DataFrame({{"item_id": ["a", "b"], "vector": [[1.0, 0.0], [0.0, 1.0]],
            "content_hash": ["x", "y"], "category": [None, None], "tags": [[], []],
            "attributes": ["{{}}", "{{}}"], "created_at": [None, None],
            "codes": ["", ""]}},
            schema_overrides={{"vector": pl.List(pl.Float32), "category": pl.String,
            "tags": pl.List(pl.String), "created_at": pl.Datetime("us", "UTC")}})
        rows = rows.with_columns(created_at=pl.datetime(2026, 1, 1, time_zone="UTC"))
        index.sync("v1", rows, dim=2)
        index.promote("v1")
    live = index.live_version()
    found = index.search(np.array([[0.9, 0.1]]), live, limit=2)
    sys.stdout.write(" ".join([live, *found["item_id"], *sorted(index.vectors(["b"], live))]))
"""
    for part in ("write", "read"):
        done = subprocess.run(
            [sys.executable, "-c", code, part], capture_output=True, text=True, check=False
        )
        assert done.stdout == "v1 a b b", done.stderr[-2000:]


def test_a_server_that_is_not_there_is_named_without_its_password():
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    config = IndexConfig(uri=f"http://root:hunter2@127.0.0.1:{port}", token="root:hunter3")
    with pytest.raises(Unavailable, match=r"\*{6}@127\.0\.0\.1") as caught:
        ItemIndex.open(config)
    assert "hunter" not in f"{caught.value}{config.shown_uri}"
    assert "hunter3" not in repr(config)
