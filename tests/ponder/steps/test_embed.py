"""Tests for ponder/steps/embed.py: shards, processes, and runs that are killed in the middle."""

import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, ITEMS, RATIONALES
from embedder.content import Encoding
from ponder.steps.embed import _gpus_of_workers, embed, embed_shard, embed_shards, plan
from ponder.steps.land import land_folder
from ponder.wiring.stores import open_lake

ROOT = Path(__file__).resolve().parents[3]
NUM_ITEMS, SHARD_SIZE = 120, 20

# Embeds every shard that is left with a stand-in for the model, and notes each item on a file. One
# item of the catalogue cannot be embedded.
CHILD = """
import sys, time
import numpy as np
from catalog.lake.lake import Lake
from catalog.lake.tables import ITEMS
from embedder.content import Encoding, Failure
from embedder.plan import plan, shards
from ponder.steps.embed import embed_shard, embedded_keys

class Slow:
    version = "slow-1"
    def stream_items(self, items, *, policy=None):
        for row, item in enumerate(items):
            time.sleep(0.004)
            if "7" in item.text and len(item.text) == 1:
                yield row, Failure(ValueError("seven"))
            else:
                yield row, Encoding(np.array([len(item.text), hash_of(item.text)]), "direct", 0.0)

def hash_of(text):
    return float(sum(map(ord, text)) % 97)

lake, notes, shard_size = Lake(sys.argv[1]), open(sys.argv[2], "ab", buffering=0), int(sys.argv[3])
todo = plan(lake.read(ITEMS), embedded_keys(lake, Slow.version), model_version=Slow.version)
for shard in shards(todo, shard_size=shard_size):
    ends = shard["item_id"][0], shard["item_id"][-1]
    embed_shard(lake, Slow(), ends, progress=lambda done: notes.write(b"." * done))
"""


def land(lake):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    lake.upsert_items(
        pl.DataFrame(
            [
                {"item_id": f"i{n:04}", "title": str(n), "deleted": False, "tags": []}
                | {"content_hash": f"h{n}", "created_at": now, "updated_at": now}
                for n in range(NUM_ITEMS)
            ],
            schema=ITEMS.schema,
        )
    )


def start(lake, notes):
    command = [sys.executable, "-c", CHILD, lake.uri, str(notes), str(SHARD_SIZE)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})


def table(lake):
    return lake.read(EMBEDDINGS).sort("item_id")


def test_a_run_that_is_killed_three_times_ends_as_one_that_was_not(tmp_path):
    whole, broken = Lake(str(tmp_path / "whole")), Lake(str(tmp_path / "broken"))
    for lake in (whole, broken):
        land(lake)
    assert start(whole, tmp_path / "whole.notes").wait() == 0
    source, notes, kills = random.Random(5), tmp_path / "broken.notes", 0
    notes.touch()
    while kills < 3:
        target = notes.stat().st_size + source.randrange(1, 2 * SHARD_SIZE)
        child = start(broken, notes)
        while child.poll() is None and notes.stat().st_size < target:
            time.sleep(0.001)
        if child.poll() is None:
            child.kill()
            kills += 1
        child.wait()
    assert start(broken, notes).wait() == 0
    assert table(broken).equals(table(whole))
    assert len(table(whole)) == NUM_ITEMS - 1
    assert broken.read(DEAD_LETTERS)["key"].to_list() == [b"i0007"]
    # The item that fails is tried again by every run, so it is left out of the count.
    again = notes.stat().st_size - NUM_ITEMS - kills
    assert again < kills * SHARD_SIZE


def test_a_shard_leaves_its_rationales_in_the_lake(settings, bazaar):
    settings = settings.replace(policy="always")
    land_folder(settings, bazaar)
    counts = embed(settings, plan(settings).shards[0])
    lake = open_lake(settings)
    assert counts.reasoned == counts.embedded == len(lake.read(RATIONALES)) == 25
    assert set(lake.read(RATIONALES)["reasoner"]) == set(lake.read(EMBEDDINGS)["model_version"])


class Dying:
    """An encoder that dies after some items; the next one goes on."""

    version = "dying-1"

    def __init__(self, lives_for):
        self.lives_for = lives_for

    def stream_items(self, contents, *, policy=None):
        for number, _ in enumerate(contents):
            if number == self.lives_for:
                raise KeyboardInterrupt
            yield number, Encoding(np.array([number, 1.0]), "direct", 0.0)


def test_a_shard_that_is_killed_goes_on_where_it_last_wrote(tmp_path):
    lake, ends, done = Lake(str(tmp_path)), ("i0000", "i0119"), []
    land(lake)
    with pytest.raises(KeyboardInterrupt):
        embed_shard(lake, Dying(70), ends, commit_every_s=1e-9, progress=done.append)
    assert len(table(lake)) == 70
    counts = embed_shard(lake, Dying(120), ends, progress=done.append)
    assert counts.embedded == 50
    assert table(lake)["item_id"].to_list() == [f"i{n:04}" for n in range(NUM_ITEMS)]


def test_shards_grow_before_they_become_too_many(settings, bazaar):
    land_folder(settings, bazaar)
    planned = plan(settings.replace(shard_size=1, max_shards=4))
    assert len(planned.shards) == 4
    ids = sorted(open_lake(settings).read(ITEMS)["item_id"])
    inside = [[i for i in ids if first <= i <= last] for first, last in planned.shards]
    assert [i for shard in inside for i in shard] == ids


@pytest.mark.parametrize(
    ("visible", "number", "expected"),
    [
        ("", 4, ["0", "1", "2", "3", "0"]),
        ("2,5", 8, ["2", "5", "2", "5", "2"]),
        ("GPU-7f,GPU-90,GPU-11", 3, ["GPU-7f", "GPU-90", "GPU-11", "GPU-7f", "GPU-90"]),
        ("", 0, [None] * 5),
    ],
)
def test_workers_take_the_gpus_that_are_visible_in_turn(monkeypatch, visible, number, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("embedder.model.devices.idle_gpus", lambda: number)
    assert _gpus_of_workers(5) == expected


def test_several_processes_embed_every_item_once(settings, bazaar):
    land_folder(settings, bazaar)
    planned, done = plan(settings), []
    counts = embed_shards(settings, planned.shards, num_workers=2, progress=done.append)
    assert counts.embedded == sum(done) == planned.num_items
    keys = open_lake(settings).read(EMBEDDINGS, ["item_id"])
    assert keys["item_id"].is_unique().all()
    assert len(keys) == planned.num_items
    assert plan(settings).num_items == 0
