"""An export for generative recommenders: every item once, sequences in order, and a manifest."""

import hashlib
import json
import shutil
from datetime import date

import polars as pl
import pytest

from catalog.lake.item_codes import codes_in_use, codes_of, put_codes
from catalog.lake.tables import EVENTS, ITEMS
from embedder.codes.config import CodesConfig
from ponder.settings import Settings
from ponder.steps.code_export import export_codes
from ponder.steps.codes import NoCodes, learn_codes
from ponder.steps.days import Days
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake

CODES_TYPE = pl.List(pl.Int32)
LIKED = ("click", "like", "purchase", "view")


@pytest.fixture(scope="module")
def settings(night_home, tmp_path_factory):
    home = shutil.copytree(night_home, tmp_path_factory.mktemp("exported") / "home")
    settings = Settings(home=home)
    learned = learn_codes(settings, CodesConfig(num_levels=2, num_codes=5))
    lake = open_lake(settings)
    former = codes_of(lake, learned.codes_id).sort("item_id").head(3).collect()
    put_codes(  # of what these items said before, by a hash that is greater than any other
        lake,
        former.select("item_id", content_hash=pl.lit("z"), codes=pl.lit([4, 4], CODES_TYPE)),
        version=learned.model_version,
        codes_id=learned.codes_id,
    )
    return settings


@pytest.fixture(scope="module")
def folder(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "codes"
    export_codes(settings, folder)
    return folder


def test_every_coded_item_is_there_once_and_named_by_itself_alone(settings, folder):
    items = pl.read_parquet(folder / "items.parquet")
    assert items["item_id"].is_sorted()
    assert items["item_id"].n_unique() == items["semantic_id"].n_unique() == len(items)
    lake, version = open_lake(settings), configured_version(settings)
    told = codes_of(lake, codes_in_use(lake, version)).collect()
    keys = ["item_id", "content_hash"]
    present = told.join(lake.read(ITEMS, keys), on=keys)
    by_item = dict(items.select("item_id", "semantic_id").iter_rows())
    assert len(present) > 50
    for item_id, codes, digit in present.select("item_id", "codes", "digit").iter_rows():
        assert by_item[item_id] == [*codes, digit]


def test_sequences_are_what_a_loop_over_the_events_makes(settings, folder):
    items = dict(pl.read_parquet(folder / "items.parquet").select("item_id", "semantic_id").rows())
    rows = open_lake(settings).read(EVENTS).sort("user_id", "ts", "item_id").to_dicts()
    expected = {}
    for row in rows:
        is_liked = row["action"] in LIKED or (row["action"] == "rating" and row["value"] >= 3.5)
        if is_liked and row["item_id"] in items:
            expected.setdefault(row["user_id"], []).append((row["item_id"], row["ts"]))
    got = {}
    for row in pl.read_parquet(folder / "sequences.parquet").iter_rows(named=True):
        got[row["user_id"]] = list(zip(row["item_ids"], row["ts"], strict=True))
        assert row["semantic_ids"] == [items[item_id] for item_id in row["item_ids"]]
    assert got == expected
    assert len(got) > 5


def test_the_manifest_says_what_is_there(settings, folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    items = pl.read_parquet(folder / "items.parquet")
    assert manifest["codes_id"] == codes_in_use(open_lake(settings), manifest["model_version"])
    assert (manifest["levels"], manifest["codes_of_a_level"]) == (2, 5)
    assert manifest["largest_digit"] == items["semantic_id"].list.last().max()
    for name, about in manifest["files"].items():
        frame = pl.read_parquet(folder / name)
        assert about["rows"] == len(frame)
        assert list(about["columns"]) == frame.columns
        assert about["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    there = {path.name for path in folder.iterdir()}
    assert there == {*manifest["files"], "manifest.json"}


def test_an_export_is_the_same_to_the_byte_and_days_cut_sequences(settings, folder, tmp_path):
    export_codes(settings, tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    whole = pl.read_parquet(folder / "sequences.parquet").explode("item_ids", "semantic_ids", "ts")
    day = whole["ts"].sort()[len(whole) // 2].date()
    assert isinstance(day, date)
    parts = []
    for days in (Days(last=day), Days(first=date.fromordinal(day.toordinal() + 1))):
        export_codes(settings, tmp_path / "part", days=days)
        part = pl.read_parquet(tmp_path / "part" / "sequences.parquet")
        parts.append(part.explode("item_ids", "semantic_ids", "ts"))
    assert parts[0]["ts"].max().date() <= day < parts[1]["ts"].min().date()
    assert pl.concat(parts).sort("user_id", "ts", "item_ids").equals(whole)


def test_without_codebooks_there_is_nothing_to_export(night_home, tmp_path):
    with pytest.raises(NoCodes, match="ponder codes learn"):
        export_codes(Settings(home=night_home), tmp_path / "out")
