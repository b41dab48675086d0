"""The landing DAG: it lands what waits, and says so to other DAGs only when something came."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from ponder.steps import land as steps

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="install the 'airflow' extra")

DAGS = Path(__file__).resolve().parents[2] / "dags"
NOTHING = {"items": {"inserted": 0, "updated": 0, "deleted": 0, "unchanged": 3}, "events": 0}
SOMETHING = {"items": {"inserted": 0, "updated": 0, "deleted": 1, "unchanged": 0}, "events": 2}


@pytest.fixture(scope="module")
def land(dag_bag):
    return dag_bag.dags["land"]


def test_one_run_at_a_time_in_a_pool_that_the_night_shares(land):
    assert land.max_active_runs == 1
    assert land.get_task("read").pool == "kafka"
    assert 'pool="kafka"' in (DAGS / "nightly.py").read_text()
    assert "pools set kafka 1" in (DAGS.parent / "deploy" / "airflow-init.sh").read_text()


def test_the_reading_ends_well_before_the_task_is_stopped(land):
    limit = land.get_task("read").execution_timeout.total_seconds()
    reading = land.get_task("read").python_callable.__globals__["READ_S"]
    assert reading < limit / 2


def test_the_assets_are_those_of_the_tables(land):
    outlets = {task.task_id: [each.name for each in task.outlets] for task in land.tasks}
    assert outlets == {"read": [], "items": ["items"], "events": ["events"]}


def test_reading_lands_from_kafka(land, monkeypatch):
    calls = []
    monkeypatch.setenv("PONDER_KAFKA", "host:9092")
    monkeypatch.setattr(
        steps, "land_kafka", lambda settings, **options: calls.append((settings, options))
    )
    land.get_task("read").python_callable()
    settings, options = calls[0]
    assert settings.kafka == "host:9092"
    assert options == {"timeout_s": 240.0}


def test_without_brokers_a_run_is_skipped(land, monkeypatch):
    from airflow.sdk.exceptions import AirflowSkipException

    monkeypatch.delenv("PONDER_KAFKA", raising=False)
    with pytest.raises(AirflowSkipException, match="PONDER_KAFKA"):
        land.get_task("read").python_callable()


@pytest.mark.parametrize("task", ["items", "events"])
def test_an_asset_is_updated_only_when_something_came(land, task):
    from airflow.sdk.exceptions import AirflowSkipException

    update = land.get_task(task).python_callable
    update(SOMETHING)
    with pytest.raises(AirflowSkipException):
        update(NOTHING)
