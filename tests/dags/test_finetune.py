"""The fine-tuning DAG: its stages are ponder's, and only a better version is embedded anew."""

import itertools
from importlib.util import find_spec

import pytest

from ponder.finetuning.config import FinetuneConfig
from ponder.finetuning.run import Run
from ponder.finetuning.stages import STAGES
from ponder.registry import Registry

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="install the 'airflow' extra")

RUN_ID = "manual__2026-03-01T00:00:00+00:00"
PARAMS = {
    "base": "",
    "data": "lake",
    "name": "tuned",
    "steps": 7,
    "gate_steps": 0,
    "batch_size": 8,
    "gate_batch_size": 8,
    "lora_rank": 0,
}


@pytest.fixture
def finetune(dag_bag, monkeypatch, tmp_path):
    monkeypatch.setenv("PONDER_HOME", str(tmp_path))
    monkeypatch.setenv("PONDER_MODEL", "nano")
    return dag_bag.dags["finetune"]


@pytest.fixture
def judged(tmp_path):
    """Makes the DAG's run one whose version is registered and was found better, or not."""

    def make(*, promoted):
        folder = tmp_path / "finetune" / "manual__2026-03-01T00-00-00-00-00"
        run = Run.open(None, FinetuneConfig(**PARAMS | {"base": "nano"}), folder)
        check = {"rule": "gain", "passed": promoted, "says": "no better"}
        run.finish("evaluate", {"promoted": promoted, "checks": [check], "opponent": None})
        run.finish("register", {"name": "tuned-0"})
        version = tmp_path / "models" / "tuned-0"
        version.mkdir(parents=True)
        (version / "manifest.json").write_text("{}")
        return Registry(tmp_path / "models")

    return make


def promote(dag):
    dag.get_task("promote").python_callable(params=PARAMS, run_id=RUN_ID)


def test_the_stages_run_one_by_one_on_the_gpu_pool_and_then_nightly(finetune):
    order = [*STAGES, "promote", "embed_anew"]
    assert [task.task_id for task in finetune.topological_sort()] == order
    for before, after in itertools.pairwise(order):
        assert finetune.get_task(after).upstream_task_ids == {before}
    assert {finetune.get_task(stage).pool for stage in STAGES} == {"gpu"}
    assert finetune.get_task("embed_anew").trigger_dag_id == "nightly"


def test_every_parameter_is_one_of_the_configuration_and_has_its_default(finetune):
    defaults = FinetuneConfig()
    given = {name: value for name, value in finetune.params.dump().items() if name != "base"}
    assert given == {name: getattr(defaults, name) for name in given}


def test_a_better_version_is_the_champion_and_is_embedded_when_settings_follow(
    finetune, judged, monkeypatch
):
    monkeypatch.setenv("PONDER_MODEL", "registry:champion")
    registry = judged(promoted=True)
    promote(finetune)
    assert registry.champion() == "tuned-0"


def test_nothing_is_embedded_anew_while_settings_name_another_model(finetune, judged):
    from airflow.sdk.exceptions import AirflowSkipException

    registry = judged(promoted=True)
    with pytest.raises(AirflowSkipException, match="PONDER_MODEL is 'nano'"):
        promote(finetune)
    assert registry.champion() == "tuned-0"


def test_a_version_that_is_no_better_skips_the_rest(finetune, judged):
    from airflow.sdk.exceptions import AirflowSkipException

    registry = judged(promoted=False)
    with pytest.raises(AirflowSkipException, match="no better"):
        promote(finetune)
    assert registry.champion() is None
