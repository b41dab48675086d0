"""Tests for catalog/ingest/source.py: what kind of source a folder is."""

import pytest

from catalog.ingest.folder import FolderSource
from catalog.ingest.movielens import MovieLensSource
from catalog.ingest.source import open_source


def touch(folder, *names):
    for name in names:
        (folder / name).touch()
    return folder


def test_a_data_folder_is_recognised_by_its_items_or_events(tmp_path):
    assert open_source(touch(tmp_path, "events.jsonl")) == FolderSource(tmp_path)


def test_movielens_is_not_taken_for_a_data_folder(tmp_path):
    folder = touch(tmp_path, "items.parquet", "interactions.parquet")
    assert open_source(folder) == MovieLensSource(tmp_path)


def test_a_folder_of_neither_kind_says_what_is_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"must hold items\*\.jsonl"):
        open_source(touch(tmp_path, "queries.jsonl"))


def test_a_source_must_be_a_folder(tmp_path):
    with pytest.raises(ValueError, match="must be a folder"):
        open_source(touch(tmp_path, "items.jsonl") / "items.jsonl")
