"""Tests for ponder/steps/reembed.py: another version goes live, whatever happens on the way.

The second version is the first with another instruction for items, so its vectors are others.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
from typer.testing import CliRunner

from catalog.lake.index_versions import IndexVersions
from catalog.lake.lake import Lake
from catalog.lake.living_embeddings import embeddings_of
from catalog.lake.tables import ITEMS
from ponder.cli.app import app
from ponder.steps.audit import audit
from ponder.steps.reembed import DoesNotFit, plan_reembed, reembed
from ponder.steps.validation import ValidationFailed
from ponder.steps.versions import rollback
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake, open_search
from recall.client import TimedClient
from recall.validation_config import ValidationConfig
from tests.ponder.steps.mugs import gone, held, land, mugs

ROOT = Path(__file__).resolve().parents[3]
CHANGING_CALLS = ("create_collection", "upsert", "delete", "flush", "create_alias", "alter_alias")
FOLLOWS_S = 1.0  # after which a service has seen what was deleted
STEPS = ["plan", "embed", "fill", "catch up", "validate", "switch", "done"]


class Killed(BaseException):
    """Ends a run as a kill does: nothing catches it."""


@pytest.fixture
def target(live, model):
    """The settings with which the second version is the configured one."""
    return live.replace(model=model)


def keys(settings, version):
    with open_index(settings) as milvus:
        return milvus.keys(version).sort("item_id").rows()


def land_meanwhile(settings):
    """A deletion, an edit and a new item."""
    edited = {"item_id": "s1", "title": "s1 blue mug"}
    land(settings, *gone("s0"), edited, *mugs(["s9"]), second=1)


def at(step, do):
    """Called with each step of a run, it does something when one begins."""
    return lambda now: do() if now == step else None


def test_another_version_goes_live_and_the_earlier_one_stays_the_previous(live, target, model):
    steps = []
    done = reembed(live, to=model, on_step=steps.append)
    first, second = configured_version(live), configured_version(target)
    assert (done.before, done.live) == (first, second)
    assert (done.embedded.embedded, done.upserted, done.deleted) == (4, 4, 0)
    assert steps == STEPS
    known = IndexVersions(open_lake(live))
    assert (known.live(), known.previous()) == (second, first)
    with open_index(live) as milvus:
        assert milvus.live_version() == second
        assert milvus.vectors(["s0"], first)["s0"] @ milvus.vectors(["s0"], second)["s0"] < 0.999
    again = reembed(live, to=model)
    assert (again.embedded.embedded, again.upserted, again.deleted) == (0, 0, 0)
    assert known.previous() == first
    assert rollback(live).live == first


@pytest.mark.parametrize("step", ["fill", "catch up"])
def test_what_lands_while_a_version_is_filled_is_in_it_when_it_goes_live(live, target, step):
    reembed(target, on_step=at(step, lambda: land_meanwhile(live)))
    assert held(live, configured_version(target)) == ["s1", "s2", "s3", "s9"]
    assert held(live, configured_version(live)) == ["s1", "s2", "s3"]
    now = {i: h for i, h in open_lake(live).read(ITEMS, ["item_id", "content_hash"]).iter_rows()}
    assert all(
        now[item_id] == content
        for item_id, content, _ in keys(live, IndexVersions(open_lake(live)).live())
    )


def test_what_is_deleted_after_the_validation_is_gone_before_the_switch(live, target):
    reembed(target, on_step=at("switch", lambda: land(live, *gone("s3"), second=1)))
    for settings in (live, target):
        assert held(live, configured_version(settings)) == ["s0", "s1", "s2"]


def test_a_version_that_is_refused_leaves_the_live_one_and_says_the_number(live, target):
    strict = target.replace(validation=ValidationConfig(max_score_shift=0.0))
    with pytest.raises(ValidationFailed, match=r"score_shift must be <= 0.0, got"):
        reembed(strict)
    known = IndexVersions(open_lake(live))
    assert known.live() == configured_version(live)
    assert known.of(configured_version(target)).state == "refused"
    assert reembed(strict, force=True).live == configured_version(target)


def test_a_plan_counts_times_and_weighs_and_writes_nothing(live, target, model):
    before = open_lake(live).versions()
    planned = plan_reembed(live, to=model)
    assert (planned.live, planned.version) == tuple(map(configured_version, (live, target)))
    assert (planned.num_items, planned.to_embed) == (4, 4)
    assert planned.seconds > 0
    dim = len(embeddings_of(open_lake(live), planned.live).collect()["vector"][0])
    assert planned.memory_bytes == 2 * int(4 * (4 * dim))
    assert set(planned.index_kinds.values()) == {"FLAT"}
    assert open_lake(live).versions() == before
    assert plan_reembed(live).to_embed == 0  # the configured version is embedded


def test_what_does_not_fit_into_memory_is_refused_unless_forced(live, target):
    small = target.replace(index_memory_gib=1e-6)
    assert not plan_reembed(small, timed=False).fits
    before = open_lake(live).versions()
    with pytest.raises(DoesNotFit, match="must fit into 1073 bytes"):
        reembed(small)
    assert open_lake(live).versions() == before
    assert reembed(small, force=True).live == configured_version(target)


def test_the_command_plans_and_changes(live, target, model):
    run, home = CliRunner(), str(live.home)
    planned = run.invoke(app, ["--home", home, "reembed", "--to", model, "--dry-run", "--json"])
    told = json.loads(planned.stdout)
    assert (told["to_embed"], told["fits"]) == (4, True)
    assert IndexVersions(open_lake(live)).live() == configured_version(live)
    done = run.invoke(app, ["--home", home, "reembed", "--to", model, "--json"])
    assert json.loads(done.stdout)["live"] == configured_version(target)


PAUSE_S = 0.03
"""A client that asks without one leaves the run, in the same process, half of the time."""


class Client(threading.Thread):
    """Asks again and again for items like an item, and remembers what was wrong with replies."""

    def __init__(self, settings, deleted):
        super().__init__(daemon=True)
        self._settings, self._deleted = settings, deleted
        self._ended = threading.Event()
        self.replies, self.faults, self.versions = 0, [], set()

    def run(self):
        try:
            with open_search(self._settings) as index:
                while not self._ended.wait(PAUSE_S):
                    now = time.monotonic()
                    gone = {i for i, at in self._deleted.items() if now - at > FOLLOWS_S}
                    index.refresh()
                    self._ask(index, gone)
        except Exception as error:
            self.faults.append(repr(error))

    def _ask(self, index, gone):
        with index.request():
            version = index.live_version()
            vector_D = index.vectors(["s2"], version)["s2"]
            found = index.search(vector_D[None], version, limit=10)
        vectors = {
            item_id: [np.asarray(v) for v in group]
            for item_id, group in embeddings_of(Lake(self._settings.lake_uri), version)
            .collect()
            .group_by("item_id")
            .agg("vector")
            .iter_rows()
        }
        for item_id, score in found.select("item_id", "recall_score").iter_rows():
            # Of this version's vectors alone, of whichever content the item has had.
            if not any(abs(v @ vector_D - score) < 1e-4 for v in vectors.get(item_id, [])):
                self.faults.append(f"{item_id} of {version} has {score}")
        if served := gone & set(found["item_id"]):
            self.faults.append(f"deleted and served: {served}")
        if len(found) < 3:
            self.faults.append(f"only {len(found)} found")
        self.replies += 1
        self.versions.add(version)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.join()


class Moments:
    """Numbers every change of the lake and of the index, before and after it; dies at one."""

    def __init__(self, monkeypatch):
        self.number, self.dies_at = 0, None
        commit, call = Lake._until_committed, TimedClient.__getattr__

        def committed(lake, *args):
            return self._around(lambda: commit(lake, *args))

        def called(client, name):
            method = call(client, name)
            if name not in CHANGING_CALLS:
                return method
            return lambda *args, **options: self._around(lambda: method(*args, **options))

        monkeypatch.setattr(Lake, "_until_committed", committed)
        monkeypatch.setattr(TimedClient, "__getattr__", called)

    def _around(self, change):
        self._next()
        done = change()
        self._next()
        return done

    def _next(self):
        self.number += 1
        if self.number == self.dies_at:
            raise Killed(self.number)


@pytest.fixture
def undisturbed(live, model, tmp_path):
    """Keys of both collections after a run that nobody disturbed."""
    calm = live.replace(home=shutil.copytree(live.home, tmp_path / "calm"))
    target = calm.replace(model=model)
    reembed(target, on_step=at("catch up", lambda: land_meanwhile(calm)))
    return [keys(calm, configured_version(each)) for each in (live, target)]


def run_and_die(live, target, moments, deleted, *, dies_at):
    """One life of a run, in which items land once; whether it came to its end."""

    def meanwhile(step):
        if step == "catch up" and not deleted:
            moments.dies_at, number = None, moments.number
            land_meanwhile(live)  # whose own moments do not count
            moments.number = number
            deleted["s0"] = time.monotonic()
            moments.dies_at = dies_at

    moments.number, moments.dies_at = 0, dies_at
    try:
        reembed(target, on_step=meanwhile)
    except Killed:
        return False
    finally:
        moments.dies_at = None
    return True


def assert_as_undisturbed(live, target, undisturbed, client):
    assert client.faults == []
    assert client.replies > 0
    assert [keys(live, configured_version(each)) for each in (live, target)] == undisturbed
    assert IndexVersions(open_lake(live)).live() == configured_version(target)
    assert audit(target).faults == []


def test_killed_again_and_again_a_moment_later_each_time_while_a_client_asks(
    live, target, undisturbed, monkeypatch
):
    deleted, moments, deaths = {}, Moments(monkeypatch), 0
    with Client(live, deleted) as client:
        while not run_and_die(live, target, moments, deleted, dies_at=deaths + 1):
            deaths += 1
        time.sleep(1.1)  # a client looks every second which version is live
    assert deaths >= 10
    assert client.versions == {configured_version(live), configured_version(target)}
    assert_as_undisturbed(live, target, undisturbed, client)


@pytest.mark.slow
def test_killed_once_at_every_moment_that_a_run_has(
    live, model, undisturbed, monkeypatch, tmp_path
):
    moments, moment, is_done = Moments(monkeypatch), 0, False
    while not is_done:
        moment += 1
        home = shutil.copytree(live.home, tmp_path / str(moment))
        fresh, deleted = live.replace(home=home), {}
        target = fresh.replace(model=model)
        with Client(fresh, deleted) as client:
            is_done = run_and_die(fresh, target, moments, deleted, dies_at=moment)
            assert run_and_die(fresh, target, moments, deleted, dies_at=None)
        assert_as_undisturbed(fresh, target, undisturbed, client)
        shutil.rmtree(home)
    assert moment >= 30


def kill_at_random(settings, model, deleted, seed):
    """Kill ten runs by SIGKILL and let the next one end; `deleted` is told what is gone, and when.

    Items land after the first kill. A run that ends in between is rolled back.
    """
    rng, kills, is_landed = random.Random(seed), 0, False
    environment = os.environ | {"PONDER_MILVUS": settings.milvus}
    command = [sys.executable, "-m", "ponder", "--home", str(settings.home), "reembed"]

    def start():
        return subprocess.Popen(
            [*command, "--to", model, "--json"], cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE
        )

    def see_gone():
        deleted.setdefault("s0", time.monotonic())

    while kills < 10:
        process = start()
        time.sleep(rng.uniform(0.5, 8.0))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        if not is_landed:
            land_meanwhile(settings)
            is_landed = True
            if settings.is_embedded:  # exact search follows the lake, a server the next run
                see_gone()
        elif process.returncode == 0:  # it is done: back, and once more
            see_gone()
            rollback(settings)
    last = start()
    _, err = last.communicate(timeout=300)
    assert last.returncode == 0, err.decode()[-2000:]
    see_gone()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_ten_times_at_random_while_a_client_asks(live, target, undisturbed, model, seed):
    """Real processes and SIGKILL; fifty kills in all."""
    deleted = {}
    with Client(live, deleted) as client:
        kill_at_random(live, model, deleted, seed)
    assert_as_undisturbed(live, target, undisturbed, client)
