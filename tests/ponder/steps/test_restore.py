"""Tests for ponder/steps/restore.py: what is lost comes back from the lake."""

import json
import shutil
from datetime import datetime

import pytest
from typer.testing import CliRunner

from catalog.lake.index_versions import IndexVersions
from catalog.lake.tables import INDEX_VERSIONS, ITEMS
from ponder.cli.app import app
from ponder.steps.index import index
from ponder.steps.restore import restore_index, restore_table
from ponder.steps.versions import promote
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake
from tests.ponder.steps.mugs import MUGS, embed_all, gone, held, land, mugs


def lose_milvus(settings):
    shutil.rmtree(settings.home / "milvus.db")


def test_a_new_milvus_gets_the_collections_and_the_live_version_back(live, other):
    embed_all(other)
    index(other)
    promote(other)
    before, now = configured_version(live), configured_version(other)
    lose_milvus(live)
    done = restore_index(live)
    assert done.live == now
    assert done.written == {now: 4, before: 4}
    for version in (before, now):
        assert held(live, version) == MUGS
    with open_index(live) as milvus:
        assert milvus.live_version() == now
    assert restore_index(live).unchanged == {now: 4, before: 4}


def test_what_was_deleted_since_does_not_come_back(live):
    land(live, *gone("s1"), second=1)
    lose_milvus(live)
    restore_index(live)
    assert held(live, configured_version(live)) == ["s0", "s2", "s3"]


def test_a_version_without_vectors_and_a_lake_without_a_live_one_are_refused(live, tmp_path):
    with pytest.raises(LookupError, match="must have vectors"):
        restore_index(live, version="other")
    with pytest.raises(LookupError, match="must have been live"):
        restore_index(live.replace(home=tmp_path / "new"))


def test_a_table_comes_back_and_the_window_to_land_again_is_told(live):
    lake = open_lake(live)
    commit = lake.version(ITEMS)
    at = lake.delta(ITEMS).history(1)[0]["timestamp"] / 1000
    land(live, *mugs(["s9"]), second=1)
    done = restore_table(live, "items", commit)
    assert (done.rows_before, done.rows) == (5, 4)
    assert sorted(lake.read(ITEMS)["item_id"]) == MUGS
    [backfill, *others] = done.then
    told = backfill.removeprefix("ponder backfill --from ")
    assert datetime.fromisoformat(told).timestamp() == pytest.approx(at, abs=1e-3)
    assert others == ["ponder index", "ponder audit"]


def test_the_pointers_are_a_table_and_come_back_with_it(live, other):
    lake = open_lake(live)
    commit = lake.version(INDEX_VERSIONS)
    embed_all(other)
    index(other)
    promote(other)
    restore_table(live, "index_versions", commit)
    assert IndexVersions(lake).live() == configured_version(live)


def test_the_command_shows_asks_and_restores(live):
    land(live, *mugs(["s9"]), second=1)
    commit = str(open_lake(live).version(ITEMS) - 1)
    command = ["--home", str(live.home), "restore", "table", "items", "--to", commit]

    def run(*options, **given):
        return CliRunner().invoke(app, [*command, *options], **given)

    shown = json.loads(run("--dry-run", "--json").stdout)
    assert (shown["present_rows"], shown["rows"]) == (5, 4)
    refused = run(input="n\n")
    assert refused.exit_code == 1
    assert "items has 5 rows, and would have 4" in refused.stderr
    assert len(open_lake(live).read(ITEMS)) == 5
    assert json.loads(run("--yes", "--json").stdout)["rows"] == 4
    assert len(open_lake(live).read(ITEMS)) == 4
    both = run("--at", "2026-01-01")
    assert both.exit_code == 1
    assert "either --to COMMIT or --at TIME" in both.stderr
