"""The DAGs of features and ranker: thin, one after the other, and a champion that stays."""

from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from ponder.steps import features as feature_steps
from ponder.steps import rank as rank_steps
from ranker.training_rows import NothingToLearn

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="install the 'airflow' extra")


@pytest.fixture
def skip():
    from airflow.sdk.exceptions import AirflowSkipException

    return AirflowSkipException


def raises(settings, *args, **options):
    raise NothingToLearn("no request tells")


def test_the_ranker_follows_the_export(dag_bag):
    features, ranker = dag_bag.dags["export_features"], dag_bag.dags["train_ranker"]
    assert [each.name for each in features.get_task("export").outlets] == ["match_features"]
    assert "match_features" in str(ranker.timetable.asset_condition)
    assert ranker.get_task("promoted").upstream_task_ids == {"train"}


@pytest.mark.parametrize("promoted", [True, False])
def test_a_ranker_that_is_refused_updates_no_asset(dag_bag, monkeypatch, skip, promoted):
    trained = SimpleNamespace(name="ranker-1", promoted=promoted)
    monkeypatch.setattr(rank_steps, "train_ranker", lambda settings: trained)
    ranker = dag_bag.dags["train_ranker"]
    told = ranker.get_task("train").python_callable()
    assert told == {"name": "ranker-1", "promoted": promoted}
    if promoted:
        ranker.get_task("promoted").python_callable(told)
    else:
        with pytest.raises(skip, match="ranker-1 is not promoted; the champion stays"):
            ranker.get_task("promoted").python_callable(told)


def test_a_log_with_nothing_to_learn_is_skipped(dag_bag, monkeypatch, skip):
    monkeypatch.setattr(rank_steps, "train_ranker", raises)
    monkeypatch.setattr(feature_steps, "export_features", raises)
    monkeypatch.setattr(feature_steps, "plan_export", raises)
    params = {"params": {"first": None, "last": None, "again": True}}
    for dag, task, given in (
        ("train_ranker", "train", {}),
        ("export_features", "plan", params),
        ("export_features", "export", params),
        ("nightly", "ranker", {}),
    ):
        with pytest.raises(skip, match="no request tells"):
            dag_bag.dags[dag].get_task(task).python_callable(**given)
