"""Tests for ponder/steps/audit.py: a night leaves nothing to find; faults are found and mended."""

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from subprocess import PIPE

import numpy as np
import polars as pl
import pytest
from deltalake import write_deltalake

from catalog.audit import PartitionProgress
from catalog.lake.maintenance import compact, history
from catalog.lake.tables import EMBEDDINGS, EVENTS, INDEX_VERSIONS, ITEMS, MEDIA
from ponder.steps.audit import RepairRefused, advice, audit, repair
from ponder.steps.land import land_folder
from ponder.steps.maintenance import accept
from ponder.steps.recall import recall
from ponder.steps.status import status
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake, open_search
from ponder.wiring.vectors import living_vectors
from recall.blocks import BlockFolder
from recall.collection import IndexConfig, collection_name
from recall.errors import Unavailable
from recall.index import ItemIndex


@pytest.fixture
def sound(settings, night_home):
    shutil.copytree(night_home, settings.home)
    return settings


def faults(settings):
    """Count of each fault by name, summed over the places where it was found."""
    counts = Counter()
    for each in audit(settings).faults:
        counts[each.name] += each.count
    return counts


def append(settings, table, rows):
    """As a writer would that does not look what is there."""
    write_deltalake(f"{settings.lake_uri}/{table.name}", rows, mode="append")


def test_after_a_night_everything_agrees(sound):
    result = audit(sound)
    assert result.faults == []
    assert {"duplicate_keys", "index_missing"} <= {each.name for each in result.findings}
    assert repair(sound, result) == {}


def test_before_the_first_landing_there_is_nothing_to_disagree(settings):
    assert audit(settings).faults == []


def test_items_that_no_version_serves_are_found(sound):
    lake = open_lake(sound)
    num_items = lake.read(ITEMS).filter(~pl.col("deleted")).height
    lake.delete(INDEX_VERSIONS, lake.read(INDEX_VERSIONS, ["version"]))
    result = audit(sound.replace(metrics_folder=str(sound.home / "metrics")))
    assert {each.name: each.count for each in result.faults} == {"nothing_live": num_items}
    told = (sound.home / "metrics" / "ponder_audit.prom").read_text()
    assert f'ponder_audit_faults{{fault="nothing_live"}} {num_items}.0' in told
    assert 'ponder_audit_faults{fault="index_missing"} 0.0' in told
    assert "`ponder promote`" in advice(result)[0]


def test_what_a_table_lost_is_found_until_somebody_accepts_it(sound):
    open_lake(sound).delta(EVENTS).delete("user_id IS NOT NULL")
    lost = open_lake(sound).version(EVENTS)
    [fault] = audit(sound).faults
    assert (fault.name, fault.where) == ("table_shrank", "events")
    accepted = accept(sound, "events", reason="a new season")
    assert (accepted.commit, accepted.rows) == (lost, fault.count)
    assert audit(sound).faults == []
    with pytest.raises(ValueError, match="the table must be one of"):
        accept(sound, "evnets", reason="a new season")


def test_the_state_tells_the_last_landing_the_last_night_and_the_disk(sound):
    lake = open_lake(sound)
    landed = max(history(lake, table, limit=1)[0].at for table in (ITEMS, EVENTS))
    compact(lake)
    told = status(sound)
    assert told.landed_at == landed
    assert told.last_night == told.validated_at is not None
    assert told.waiting is None
    assert set(told.free_bytes) == {"home"}
    assert told.free_bytes["home"] > 0


@pytest.mark.parametrize(
    ("answer", "waiting"), [([9, 4], 7), (ConnectionError("no brokers"), None)]
)
def test_the_state_tells_what_waits_and_is_told_without_brokers_too(
    sound, monkeypatch, answer, waiting
):
    def audit_sources(config, lake):
        if isinstance(answer, Exception):
            raise answer
        return [
            PartitionProgress(topic="items", partition=n, landed=3, low=0, high=high)
            for n, high in enumerate(answer)
        ]

    monkeypatch.setattr("catalog.audit.audit_sources", audit_sources)
    assert status(sound.replace(kafka="broker:9092")).waiting == waiting


@pytest.mark.usefixtures("served_by_milvus")
def test_what_the_index_lost_kept_or_holds_in_an_older_form_is_told_apart_and_mended(sound):
    lake, version = open_lake(sound), configured_version(sound)
    rows = living_vectors(lake, version).with_columns(codes=pl.lit(""))
    lost, old, *_ = rows["item_id"]
    dim = len(rows["vector"][0])
    wrong = rows.filter(pl.col("item_id") != lost).with_columns(
        attributes=pl.when(pl.col("item_id") == old)
        .then(pl.lit('{"price": -1}'))
        .otherwise("attributes")
    )
    stranger = wrong.tail(1).with_columns(item_id=pl.lit("stranger"))
    with open_index(sound) as index:
        index.sync(version, pl.concat([wrong, stranger]), dim=dim)
    found = {each.name: (each.where, each.first) for each in audit(sound).faults}
    assert found == {
        "index_missing": (version, (lost,)),
        "index_orphaned": (version, ("stranger",)),
        "index_stale": (version, (old,)),
    }
    assert repair(sound, audit(sound)) == {"index": 3}
    assert faults(sound) == {}


@pytest.mark.usefixtures("served_by_milvus")
def test_a_vector_of_an_earlier_content_is_found_by_its_hash(sound):
    lake, version = open_lake(sound), configured_version(sound)
    rows = living_vectors(lake, version).with_columns(codes=pl.lit(""))
    with open_index(sound) as index:
        index.sync(
            version,
            rows.with_columns(content_hash=pl.lit("earlier")).head(1).vstack(rows.tail(-1)),
            dim=len(rows["vector"][0]),
        )
    assert faults(sound) == {"index_stale": 1}


@pytest.mark.usefixtures("served_by_milvus")
def test_a_deleted_item_that_is_still_served_is_found_in_the_live_version_too(sound):
    gone = living_vectors(open_lake(sound), configured_version(sound))["item_id"][0]
    line = {"item_id": gone, "deleted": True, "updated_at": "2030-01-01T00:00:00Z"}
    folder = sound.home / "later"
    folder.mkdir()
    (folder / "items.jsonl").write_text(json.dumps(line) + "\n")
    land_folder(sound, folder)
    other = type(sound)(home=sound.home, shard_size=25, policy="never")
    version, live = configured_version(other), configured_version(sound)
    assert version != live
    found = {(each.name, each.where) for each in audit(other).faults}
    assert ("index_orphaned", live) in found
    assert ("missing_embeddings", version) in found


def test_a_repair_that_would_drop_most_embeddings_is_refused_and_changes_nothing(sound):
    lake = open_lake(sound)
    kept = lake.read(ITEMS).head(1)
    shutil.rmtree(f"{sound.lake_uri}/{ITEMS.name}")
    write_deltalake(f"{sound.lake_uri}/{ITEMS.name}", kept)
    before = lake.read(EMBEDDINGS).sort("item_id")
    with pytest.raises(RepairRefused, match="nothing was changed"):
        repair(sound, audit(sound))
    assert open_lake(sound).read(EMBEDDINGS).sort("item_id").equals(before)
    done = repair(sound, audit(sound), max_delete_share=1.0)
    assert done["orphaned_embeddings"] == len(before) - 1


def test_what_the_files_of_exact_search_lost_is_found_and_mended(sound):
    version = configured_version(sound)
    audit(sound)  # reads the lake into files
    folder = BlockFolder(sound.vectors_folder / collection_name("vectors", version))
    state, first = folder.state(), folder.open().blocks[0].rows["item_id"][0]
    folder.commit(replace(state, dead=folder.write_dead(np.array([0]))))
    found = {each.name: (each.where, each.first) for each in audit(sound).faults}
    assert found == {"index_missing": (version, (first,))}
    repair(sound, audit(sound))
    assert faults(sound) == {}


HOLD = """
import sys
from ponder.settings import Settings
from ponder.wiring.stores import open_index
with open_index(Settings(home=sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_queries_status_and_audit_go_on_while_another_process_holds_milvus_lite(sound):
    command = [sys.executable, "-c", HOLD, str(sound.home)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Unavailable):
            ItemIndex.open(IndexConfig(uri=sound.milvus_uri, folder_wait_s=0.1))
        assert audit(sound).faults == []
        held = status(sound)
        item_id = living_vectors(open_lake(sound), held.live)["item_id"][0]
        found = recall(sound, {"item_id": item_id, "top_k": 5})
        assert (found.version, found.index, len(found.candidates)) == (held.live, "exact", 5)
        holder.communicate("")
    assert held.indexed == {held.live: held.items}


def test_an_index_step_runs_while_queries_are_answered(sound):
    """As `ponder serve` and a nightly `ponder index` do."""
    code = "import sys; from ponder.cli.app import app; sys.argv[0] = 'ponder'; app()"
    command = [sys.executable, "-c", code, "--home", str(sound.home), "index"]
    with open_search(sound) as index:
        live = index.live_version()
        rows = index.keys(live)
        query_1D = index.vectors(rows["item_id"][:1].to_list(), live)[rows["item_id"][0]][None]
        first = index.search(query_1D, live, limit=10)
        with subprocess.Popen(command, stdout=PIPE, stderr=subprocess.STDOUT, text=True) as step:
            while step.poll() is None:
                index.refresh()
                assert index.search(query_1D, live, limit=10).equals(first)
                time.sleep(0.02)
            assert step.returncode == 0, step.stdout.read()


@pytest.mark.usefixtures("served_by_milvus")
def test_embeddings_lost_and_orphaned_are_made_and_dropped(sound):
    lake = open_lake(sound)
    embedded = lake.read(EMBEDDINGS).sort("item_id")
    append(sound, EMBEDDINGS, embedded.head(1).with_columns(item_id=pl.lit("never")))
    assert lake.delete(EMBEDDINGS, embedded.select(EMBEDDINGS.key).head(2)) == 2
    # Their vectors are still in Milvus, which the lake no longer vouches for.
    expected = {"missing_embeddings": 2, "orphaned_embeddings": 1, "index_orphaned": 2}
    assert faults(sound) == expected
    done = repair(sound, audit(sound))
    assert (done["missing_embeddings"], done["orphaned_embeddings"]) == (2, 1)
    assert faults(sound) == {}
    assert lake.read(EMBEDDINGS).sort("item_id")["item_id"].equals(embedded["item_id"])


def test_rows_stored_twice_are_made_one(sound):
    lake = open_lake(sound)
    items = lake.read(ITEMS).sort("item_id")
    append(sound, ITEMS, items.head(3))
    append(sound, MEDIA, lake.read(MEDIA).head(1))
    assert faults(sound) == {"duplicate_keys": 4}
    assert repair(sound, audit(sound))["duplicate_keys"] == 4
    assert faults(sound) == {}
    assert lake.read(ITEMS).sort("item_id").equals(items)


def test_what_cannot_be_mended_stays_and_says_what_to_do(sound):
    lake = open_lake(sound)
    image = lake.read(ITEMS)["image_hash"].drop_nulls()[0]
    lake.delete(MEDIA, pl.DataFrame({"hash": [image]}))
    result = audit(sound)
    assert set(faults(sound)) == {"dangling_media"}
    assert repair(sound, result) == {}
    assert advice(result) == [
        "land the items again: `ponder land --data DIR`, or `ponder backfill`"
    ]
