"""The maintenance DAG: each task has its day, and an audit that finds faults is red."""

import os
from datetime import UTC, datetime
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from catalog.audit import Finding
from ponder.settings import Settings
from ponder.steps import airflow_database
from ponder.steps.audit import Audit, Disagreement, audit_or_fail
from ponder.steps.finetune_runs import DAY_S, retire_runs

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="install the 'airflow' extra")

SUNDAY, MONDAY = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
WEEKLY = ("vacuum", "retire_versions", "retire_runs", "clean_airflow")


@pytest.fixture
def maintenance(dag_bag, monkeypatch, tmp_path):
    monkeypatch.setenv("PONDER_HOME", str(tmp_path))
    return dag_bag.dags["maintenance"]


def test_one_after_the_other_and_a_failure_stops_none(maintenance):
    order = ["replay", "compact", *WEEKLY, "audit"]
    assert [task.task_id for task in maintenance.topological_sort()] == [*order, "all_went_well"]
    assert {maintenance.get_task(name).trigger_rule for name in order[1:]} == {"all_done"}


def test_one_task_that_only_starts_when_none_failed_stands_for_all(maintenance):
    stands = maintenance.get_task("all_went_well")
    assert stands.trigger_rule == "none_failed"
    assert stands.upstream_task_ids == {task.task_id for task in maintenance.tasks} - {
        "all_went_well"
    }
    assert [task.task_id for task in maintenance.leaves] == ["all_went_well"]


@pytest.mark.slow
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("fails", [True, False])
def test_a_run_is_red_when_any_of_its_tasks_failed(maintenance, monkeypatch, fails):
    def compact(settings):
        if fails:
            raise ValueError("no table")
        return {}

    monkeypatch.setattr("ponder.steps.dead_letters.replay_media_letters", lambda settings: {})
    monkeypatch.setattr("ponder.steps.maintenance.compact", compact)
    monkeypatch.setattr("ponder.steps.audit.audit_or_fail", lambda settings: {})
    day = SimpleNamespace(now=lambda zone: MONDAY)
    of_dag = maintenance.get_task("vacuum").python_callable.__globals__
    monkeypatch.setitem(of_dag, "datetime", day)
    # Airflow 3.3's `dag.test` looks for the alert in a table that it has not written.
    monkeypatch.setattr(maintenance, "deadline", None)
    run = maintenance.test()
    states = {task.task_id: task.state for task in run.get_task_instances()}
    assert states == {
        "replay": "success",
        "compact": "failed" if fails else "success",
        **dict.fromkeys(WEEKLY, "skipped"),
        "audit": "success",
        "all_went_well": "upstream_failed" if fails else "success",
    }
    assert run.state == ("failed" if fails else "success")


@pytest.mark.parametrize("name", WEEKLY)
def test_what_is_weekly_runs_on_sundays_or_when_everything_is_asked_for(
    maintenance, name, monkeypatch
):
    from airflow.sdk.exceptions import AirflowSkipException

    ran = []
    monkeypatch.setattr(airflow_database, "clean_airflow", lambda settings: ran.append(name))
    call = maintenance.get_task(name).python_callable
    for day, everything, runs in (
        (SUNDAY, False, True),
        (MONDAY, False, False),
        (MONDAY, True, True),
    ):
        monkeypatch.setitem(
            call.__globals__, "datetime", SimpleNamespace(now=lambda zone, day=day: day)
        )
        if runs:
            call(params={"everything": everything})
        else:
            with pytest.raises(AirflowSkipException, match="Sunday"):
                call(params={"everything": everything})


def test_an_audit_with_faults_fails_without_another_try_and_says_what_to_do(monkeypatch):
    fault = Finding(name="nothing_live", where="index", count=4, first=("a",))
    note = Finding(name="failed_embeddings", where="v", count=1, first=("b",), is_fault=False)
    found = [note]
    monkeypatch.setattr("ponder.steps.audit.audit", lambda settings: Audit(findings=found))
    assert audit_or_fail(Settings()).notes == [note]
    found.append(fault)
    with pytest.raises(Disagreement, match=r"nothing_live index 4\n.*ponder promote"):
        audit_or_fail(Settings())
    assert issubclass(Disagreement, ValueError)  # which is not tried again


def test_runs_that_nobody_has_touched_for_long_go_and_others_stay(tmp_path):
    settings = Settings(home=tmp_path, keep_runs_days=10)
    for name in ("old", "new", "none"):
        (tmp_path / "finetune" / name / "joint").mkdir(parents=True)
    for name in ("old", "new"):
        (tmp_path / "finetune" / name / "config.json").write_text("{}")
    now = (tmp_path / "finetune" / "old").stat().st_mtime
    assert retire_runs(settings, now=now + 9 * DAY_S).retired == ()
    for path in (tmp_path / "finetune" / "new", tmp_path / "finetune" / "new" / "joint"):
        os.utime(path, (now + DAY_S, now + DAY_S))
    done = retire_runs(settings, now=now + 10.5 * DAY_S)
    assert (done.retired, done.left) == (("old",), ("new",))
    assert {path.name for path in (tmp_path / "finetune").iterdir()} == {"new", "none"}


def test_airflows_database_is_cleaned_by_its_command_with_the_address_that_is_given(
    tmp_path, monkeypatch
):
    command = tmp_path / "airflow"
    command.write_text(
        f'#!/bin/sh\necho "$@" "$AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" >> {tmp_path}/said\n'
        'echo "no such table" >&2\nexit ${FAILS:-0}\n'
    )
    command.chmod(0o755)
    monkeypatch.setattr(airflow_database, "airflow_command", lambda: str(command))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")
    now = datetime(2026, 4, 1, tzinfo=UTC)
    kept_from = airflow_database.clean_airflow(Settings(airflow_database="pg://db"), now=now)
    airflow_database.clean_airflow(Settings(), now=now)
    assert kept_from == "2026-01-01T00:00:00+00:00"
    asked = f"db clean --yes --skip-archive --clean-before-timestamp {kept_from}"
    assert (tmp_path / "said").read_text().splitlines() == [f"{asked} pg://db", f"{asked} "]
    monkeypatch.setenv("FAILS", "1")
    with pytest.raises(RuntimeError, match=r"no such table.*PONDER_AIRFLOW_DATABASE"):
        airflow_database.clean_airflow(Settings(), now=now)
