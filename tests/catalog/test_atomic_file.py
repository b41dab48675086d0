"""Tests for catalog/atomic_file.py."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from catalog.atomic_file import write_atomically

KILLED = """
import os, pathlib, sys
from catalog.atomic_file import write_atomically

def half(path):
    path.write_text("ne")
    os._exit(9)

write_atomically(pathlib.Path(sys.argv[1]), half)
"""


def test_text_bytes_and_what_a_function_writes_are_kept(tmp_path):
    write_atomically(tmp_path / "text", "grün")
    write_atomically(tmp_path / "bytes", b"\xff\x00")
    write_atomically(tmp_path / "rows.parquet", pl.DataFrame({"a": [1]}).write_parquet)
    assert (tmp_path / "text").read_bytes() == "grün".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\xff\x00"
    assert pl.read_parquet(tmp_path / "rows.parquet").to_dict(as_series=False) == {"a": [1]}
    assert len(list(tmp_path.iterdir())) == 3


def test_missing_folders_are_made(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "file", "new")
    assert (tmp_path / "a" / "b" / "file").read_text() == "new"


def test_a_kill_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "state.json"
    path.write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == 9
    assert path.read_text() == "old"
    [left] = [each.name for each in tmp_path.iterdir() if each != path]
    assert left.startswith(".state.json.")
    assert list(tmp_path.glob("*.json")) == [path]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fails(unfinished):
        unfinished.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fails)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_two_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "file"
    texts = [str(n) * 100_000 for n in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda text: write_atomically(path, text), texts))
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]
