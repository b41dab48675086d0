"""Tests for ponder/cli/lake.py."""

import json

import polars as pl

from catalog.lake.tables import MEDIA


def test_the_lake_is_compacted_vacuumed_and_its_history_told(ponder, lake):
    images = pl.DataFrame({"hash": ["h"], "bytes": [b"1"]}, schema=MEDIA.schema)
    lake.insert_new(MEDIA, images)
    lake.insert_new(MEDIA, images.with_columns(hash=pl.lit("i")))
    compacted = json.loads(ponder("lake", "compact", "--json").stdout)
    assert compacted["media"]["removed"] == 2
    force = ("lake", "vacuum", "--days", "0", "--force", "--media", "--deleted", "--json")
    told = json.loads(ponder(*force, "--dry-run").stdout)
    assert told["media"]["files"] == 2
    assert told["dropped_media"] == 2
    done = json.loads(ponder(*force).stdout)
    assert done["media"]["files"] >= 2
    assert lake.read(MEDIA).is_empty()
    commits = json.loads(ponder("lake", "history", "media", "--json").stdout)["commits"]
    assert [c["version"] for c in commits] == sorted((c["version"] for c in commits), reverse=True)
    assert "CREATE TABLE" in ponder("lake", "history", "media").stdout
