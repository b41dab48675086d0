"""Tests for catalog/emoji: a font as a catalogue. They need Debian's fonts-noto-color-emoji."""

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from catalog.emoji.folder import split_of, write_emoji
from catalog.emoji.font import SIDE, drawn_emoji
from ponder.cli.emoji import FONT
from ponder.small.scenes import read_emoji

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "noto_emoji"

needs_font = pytest.mark.skipif(not FONT.is_file(), reason=f"there is no {FONT}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emoji")
    write_emoji(folder, FONT, {"1f431": ["pet", "cat"], "1f415": ["pet"]}, num_queries=10)
    return folder


@needs_font
def test_an_emoji_is_named_by_unicode_and_drawn_in_colour_on_white(folder: Path) -> None:
    items = {row["item_id"]: row for row in pl.read_parquet(folder / "items.parquet").to_dicts()}
    apple = items["1f34e"]
    with Image.open(io.BytesIO(apple["image"])) as image:
        pixels = np.asarray(image, dtype=int)
    assert (apple["title"], pixels.shape) == ("red apple", (SIDE, SIDE, 3))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    red, green, blue = pixels[SIDE // 2, SIDE // 2]
    assert red > 180 > 100 > max(green, blue)


@needs_font
def test_flags_letters_and_shades_of_skin_are_no_items(folder: Path) -> None:
    codes = set(pl.read_parquet(folder / "items.parquet")["item_id"])
    assert codes.isdisjoint({"1f1e6", "1f3fb", "31", "41"})
    assert {"1f600", "2603", "1f9d1"} <= codes


@needs_font
def test_questions_are_keywords_with_the_emoji_that_have_them(folder: Path) -> None:
    lines = (folder / "queries.jsonl").read_text().splitlines()
    found = {row["text"]: (row["relevant"], row["tier"]) for row in map(json.loads, lines)}
    assert found == {"pet": (["1f415", "1f431"], "meant"), "cat": (["1f431"], "named")}


@needs_font
def test_small_reads_the_split_that_it_learns_from(folder: Path) -> None:
    titles = (
        pl.read_parquet(folder / "items.parquet").filter(split="train").sort("item_id")["title"]
    )
    assert [one.name for one in read_emoji(folder).emoji] == titles.to_list()


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data/noto_emoji")
def test_splits_are_those_that_small_was_trained_with() -> None:
    rows = pl.read_parquet(DATA / "items.parquet").select("base", "split").iter_rows()
    assert all(split_of(base) == split for base, split in rows)


@pytest.mark.parametrize("content", [None, b"\0\1\0\0glyf" + bytes(100)])
def test_a_font_without_bitmaps_in_colour_is_refused(tmp_path: Path, content: bytes | None) -> None:
    font = tmp_path / "plain.ttf"
    if content is not None:
        font.write_bytes(content)
    with pytest.raises(ValueError, match="fonts-noto-color-emoji"):
        next(drawn_emoji(font))
