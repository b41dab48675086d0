"""Tests for ponder/doctor: of every planted fault its name, what was seen, and what to do."""

import json
import socket
import threading
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kafka.errors import KafkaTimeoutError
from typer.testing import CliRunner

from catalog.ingest.rows import item_frame
from catalog.lake.index_versions import IndexVersions
from catalog.records import Item
from ponder.cli.app import app
from ponder.doctor.airflow import check_airflow
from ponder.doctor.examination import examine
from ponder.doctor.folders import check_disk, check_folders
from ponder.doctor.index import check_index
from ponder.doctor.lake import check_clock, check_lake
from ponder.doctor.model import check_model, check_reasoner
from ponder.doctor.software import check_device, check_python, unsuitable_packages
from ponder.doctor.topics import check_kafka
from ponder.settings import Settings
from ponder.settings_sources import SettingsSources
from ponder.wiring.stores import open_lake
from tests.index_fixtures import index, rows

__all__ = ["index", "rows"]

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def nowhere():
    """An address of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def damage_log(settings):
    (settings.home / "lake" / "items" / "_delta_log" / f"{0:020}.json").write_text("{")
    return settings


def file_for_folder(settings):
    place = settings.home.parent / "file"
    place.write_text("")
    return settings.replace(home=place / "home")


def registered(settings, champion):
    folder = settings.home / "models"
    folder.mkdir()
    (folder / "champion").write_text(champion)
    return settings.replace(model="registry:champion")


def unreadable_model(settings, manifest):
    folder = settings.home / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "manifest.json").write_text(manifest)
    return settings.replace(model=str(folder))


def empty_model(settings):
    (settings.home / "model").mkdir()
    return settings.replace(model=str(settings.home / "model"))


def topics(**partitions):
    """A consumer factory for brokers that hold these."""

    class Consumer:
        def partitions_for_topic(self, topic):
            return set(range(partitions.get(topic, 0))) or None

        def close(self, *, autocommit):
            assert not autocommit

    def make(**options):
        assert options["group_id"] is None
        assert options["allow_auto_create_topics"] is False
        return Consumer()

    return make


def unreachable(**options):
    assert options["bootstrap_timeout_ms"] == 10_000
    raise KafkaTimeoutError


def pools(**slots):
    rows = [{"pool": name, "slots": str(number)} for name, number in slots.items()]
    return lambda command: json.dumps(rows)


def no_database(command):
    raise OSError("no such table: slot_pool")


def kafka(settings, **changes):
    return settings.replace(kafka="broker:9092", **changes)


PLANTED = {
    "a Python of yesterday": (
        lambda home: check_python(home, (3, 10)),
        ("python", "got 3.10", "python3.12"),
    ),
    "a package that is missing": (
        lambda home: unsuitable_packages(["polars>=2"], {}.get),
        ("software", "polars must be >=2, got none", "pip install"),
    ),
    "a package that is too old": (
        lambda home: unsuitable_packages(["polars>=2,<3"], {"polars": "1.9"}.get),
        ("software", "got 1.9", "constraints.txt"),
    ),
    "a device that torch does not have": (
        lambda home: check_device(home.replace(device="cuda:7")),
        ("device", "got 'cuda:7'", "PONDER_DEVICE"),
    ),
    "a home that is no folder": (
        lambda home: check_folders(file_for_folder(home)),
        ("folders", "home must be a folder", "PONDER_HOME"),
    ),
    "a lake that cannot be written to": (
        lambda home: check_folders(home.replace(lake="/proc/lake")),
        ("folders", "lake must be a folder", "PONDER_LAKE"),
    ),
    "a full disk": (
        lambda home: check_disk(home.replace(lake="s3://bucket/lake"), lambda folder: 1 << 20),
        ("disk", "got 0.00", "ponder lake vacuum"),
    ),
    "a damaged table": (
        lambda home: check_lake(damage_log(home)),
        ("lake", "table 'items'", "backup"),
    ),
    "a clock that is behind": (
        lambda home: check_clock(home, lambda: datetime.now(UTC) - timedelta(hours=1)),
        ("clock", "ahead of this machine's clock", "NTP"),
    ),
    "brokers that are not there": (
        lambda home: check_kafka(kafka(home), unreachable),
        ("kafka", "brokers must answer", "PONDER_KAFKA_SECURITY"),
    ),
    "a topic that is not there": (
        lambda home: check_kafka(kafka(home), topics(items=2)),
        ("kafka", "topic 'events' must be there", "PONDER_KAFKA_EVENT_TOPIC"),
    ),
    "one topic for both": (
        lambda home: check_kafka(kafka(home, kafka_item_topic="events"), topics()),
        ("kafka", "must differ", "configuration.md"),
    ),
    "a decoder that is none": (
        lambda home: check_kafka(kafka(home, item_decoder="shop.avro:decode"), topics()),
        ("kafka", "item_decoder must name a function", "correct the setting"),
    ),
    "a Milvus that is not there": (
        lambda home: check_index(home.replace(milvus=f"http://{nowhere()}")),
        ("index", "does not answer", "PONDER_MILVUS"),
    ),
    "a model folder that is not there": (
        lambda home: check_model(home.replace(model="/nowhere/model")),
        ("model", "'/nowhere/model' does not exist", "PONDER_MODEL"),
    ),
    "a model without weights": (
        lambda home: check_model(empty_model(home)),
        ("model", "safetensors", "PONDER_MODEL"),
    ),
    "a manifest that is damaged": (
        lambda home: check_model(unreadable_model(home, "[]")),
        ("model", "manifest", "PONDER_MODEL"),
    ),
    "a champion that is gone": (
        lambda home: check_model(registered(home, "mine-1234")),
        ("model", "no version 'mine-1234'", "ponder models list"),
    ),
    "a budget of which nothing is known": (
        lambda home: check_model(home.replace(item_budget="30%")),
        ("model", "item_budget needs a measured gate", "ponder embedder report"),
    ),
    "an endpoint that is not there": (
        lambda home: check_reasoner(
            home.replace(reasoner="openai:m", reasoner_url=f"http://u:secret@{nowhere()}/v1")
        ),
        ("reasoner", "must take connections", "PONDER_REASONER_URL"),
    ),
    "an Airflow without a database": (
        lambda home: check_airflow(home, no_database),
        ("airflow", "no such table", "airflow db migrate"),
    ),
    "a pool that is missing": (
        lambda home: check_airflow(home, pools(kafka=1)),
        ("airflow", "'gpu' must have a slot", "airflow pools set gpu"),
    ),
    "a pool that lets two land at a time": (
        lambda home: check_airflow(home, pools(gpu=1, kafka=2)),
        ("airflow", "'kafka' must have one slot, got 2", "airflow pools set kafka 1"),
    ),
    "a home that depends on the directory": (
        lambda home: check_airflow(home.replace(home=Path(".ponder")), pools(gpu=1, kafka=1)),
        ("airflow", "home must be absolute", "PONDER_HOME=/"),
    ),
}


@pytest.fixture
def home(tmp_path):
    """A deployment with an item and nothing that is live."""
    settings = Settings(home=tmp_path / "home")
    rows = item_frame([Item(item_id="a", updated_at=NOW)], [None])
    open_lake(settings).upsert_items(rows)
    return settings


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_found_and_its_remedy_named(planted, home):
    look, (check, what, remedy) = PLANTED[planted]
    [problem] = look(home)
    assert problem.is_fault
    assert problem.check == check
    assert what in problem.what
    assert remedy in problem.remedy
    assert "secret" not in problem.what


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [
        ("PONDER_MODLE", "nano", "the nearest is PONDER_MODEL"),
        ("PONDER_LAKE_OPTIONS", "[1]", "lake_options must be a table"),
        ("PONDER_SHARD_SIZE", "none", "shard_size"),
        ("PONDER_CONFIG", "/nowhere/ponder.toml", "a TOML file that can be read"),
    ],
)
def test_settings_that_are_wrong_are_found_before_anything_is_looked_at(
    variable, value, what, monkeypatch, home
):
    monkeypatch.setenv(variable, value)
    ran = CliRunner().invoke(app, ["--home", str(home.home), "doctor", "--json"])
    told = json.loads(ran.stdout)
    assert (ran.exit_code, told["checks"]) == (1, ["settings"])
    [problem] = told["problems"]
    assert what in problem["what"]
    assert "docs/configuration.md" in problem["remedy"]


@pytest.mark.parametrize(("lake_says", "what"), [("new", "a collection"), ("v1", "serve 'v1'")])
def test_a_live_version_that_milvus_does_not_serve_is_found(
    lake_says, what, home, index, rows, monkeypatch
):
    monkeypatch.setattr("ponder.doctor.index.open_index", lambda settings: nullcontext(index))
    served, versions = home.replace(milvus="http://milvus:19530"), IndexVersions(open_lake(home))
    for version in ("v1", "v2"):
        index.sync(version, rows(a=[1, 0]), dim=2)
    index.promote("v2")
    versions.switch_to("v2")
    assert list(check_index(served)) == []
    versions.switch_to(lake_says)
    [problem] = check_index(served)
    assert what in problem.what
    assert "ponder index" in problem.remedy


def test_a_sound_deployment_gets_notes_alone_and_exit_code_0(home, monkeypatch):
    monkeypatch.delenv("AIRFLOW_HOME", raising=False)
    ran = CliRunner().invoke(app, ["--home", str(home.home), "doctor"])
    assert ran.exit_code == 0, ran.stdout
    assert "note  lake: no version is live" in ran.stdout
    assert "FAULT" not in ran.stdout


def test_a_check_that_hangs_or_fails_is_a_problem_and_holds_up_no_other(home):
    never = threading.Event()

    def hangs(settings):
        never.wait()
        return []

    def fails(settings):
        raise ZeroDivisionError("one by none")

    checks = {"hangs": hangs, "fails": fails, "python": lambda settings: check_python(settings)}
    sources = SettingsSources({"home": home.home}, {}, ())
    found = examine(sources, timeout_s=0.2, checks=checks)
    assert [each.check for each in found.problems] == ["hangs", "fails"]
    assert "within 0.2 s" in found.problems[0].what
    assert "ZeroDivisionError: one by none" in found.problems[1].what
    assert not found.is_sound
    never.set()


def test_only_what_is_named_is_looked_at(home):
    sources = SettingsSources({"home": home.home}, {}, ())
    assert examine(sources, only=["disk"]).checks == ("settings", "disk")
    with pytest.raises(ValueError, match="must be one of settings, python"):
        examine(sources, only=["disc"])
