"""What holds for every DAG: a browser can start it, and a late scheduler loses no first run."""

from datetime import UTC, datetime, timedelta
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="install the 'airflow' extra")


def test_no_field_has_to_be_filled_in_before_a_run_is_started_from_a_browser(dag_bag):
    # Airflow's form demands a text unless the type allows null; the default "" does not count.
    demanded = [
        (dag_id, name)
        for dag_id, dag in dag_bag.dags.items()
        for name, default in dag.params.dump().items()
        if default in ("", None) and "null" not in dag.params.get_param(name).schema["type"]
    ]
    assert demanded == []


@pytest.mark.parametrize(
    ("late", "first"),
    [
        (timedelta(seconds=1), datetime(2026, 3, 1, 2, tzinfo=UTC)),
        (timedelta(minutes=4), datetime(2026, 3, 1, 2, tzinfo=UTC)),
        (timedelta(hours=3), datetime(2026, 3, 2, 2, tzinfo=UTC)),
    ],
)
def test_the_first_night_is_run_by_a_scheduler_that_looks_a_little_late(
    dag_bag, monkeypatch, late, first
):
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    now = datetime(2026, 3, 1, 2, tzinfo=UTC) + late
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: now)
    timetable = coerce_to_core_timetable(dag_bag.dags["nightly"].timetable)
    info = timetable.next_dagrun_info(
        last_automated_data_interval=None,
        restriction=TimeRestriction(earliest=None, latest=None, catchup=False),
    )
    assert info.run_after == first


def test_a_change_of_the_model_lands_nothing(dag_bag):
    # Where folders are landed by parameter, a landing without one is refused.
    reembed = dag_bag.dags["reembed"]
    assert {task.task_id for task in reembed.tasks} == {"plan", "embed", "switch", "index_changed"}
    assert set(reembed.params.dump()) == {"to"}


@pytest.mark.parametrize(
    ("failure", "action"),
    [
        (ValueError("min_gain must be a number"), "fail"),
        (ImportError("no module lightgbm"), "fail"),
        (ConnectionError("the brokers must answer"), "default"),
        (TimeoutError(), "default"),
        (OSError(28, "No space left on device"), "default"),
    ],
)
def test_a_mistake_is_not_tried_again_and_an_outage_is(dag_bag, failure, action):
    policies = {task.retry_policy for dag in dag_bag.dags.values() for task in dag.tasks}
    decided = {policy.evaluate(failure, 1, 2).action.value for policy in policies}
    assert decided == {action}
