"""The fine-tuning DAG: its stages are ponder's, and only a better version is embedded anew."""

import itertools
from importlib.util import find_spec

import pytest

from ponder.finetuning.promotion import Check
from ponder.finetuning.recipes import configured
from ponder.finetuning.results import Evaluation, RegisteredVersion
from ponder.finetuning.run import Run
from ponder.finetuning.short_options import SHORT, short_changes
from ponder.finetuning.stages import STAGES
from ponder.registry import Registry

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="install the 'airflow' extra")

RUN_ID = "manual__2026-03-01T00:00:00+00:00"
PARAMS = {
    "base": None,
    "recipe": None,
    "set": ["joint.warmup_steps=3"],
    **dict.fromkeys((short.name for short in SHORT), None),
    "steps": 7,
    "gate_steps": 0,
    "batch_size": 8,
}
JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


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
        changes = {"steps": 7, "gate_steps": 0, "batch_size": 8}
        config = configured(short_changes(changes) | {"joint.warmup_steps": 3})
        run = Run.open(None, config, folder)
        evaluation = Evaluation(
            promoted=promoted,
            checks=(Check("gain", promoted, "no better"),),
            thresholds={},
            champion="nano-0",
            opponent=None,
            sets={},
            behaviour={},
        )
        run.finish("evaluate", evaluation)
        run.finish("register", RegisteredVersion(name="tuned-0", path=""))
        version = tmp_path / "models" / "tuned-0"
        version.mkdir(parents=True)
        (version / "manifest.json").write_text("{}")
        return Registry(tmp_path / "models")

    return make


def promote(dag):
    return dag.get_task("promote").python_callable(params=PARAMS, run_id=RUN_ID)


def test_the_stages_run_one_by_one_on_the_gpu_pool_and_then_reembed(finetune, dag_bag):
    order = [*STAGES, "promote", "follows_champion"]
    assert [task.task_id for task in finetune.topological_sort()] == order
    for before, after in itertools.pairwise(order):
        assert finetune.get_task(after).upstream_task_ids == {before}
    assert {finetune.get_task(stage).pool for stage in STAGES} == {"gpu"}
    assert [each.name for each in finetune.get_task("follows_champion").outlets] == ["champion"]
    assert "champion" in str(dag_bag.dags["reembed"].timetable.asset_condition)


def test_the_parameters_are_the_short_options_and_leave_the_rest_to_the_recipe(finetune):
    given = {"base": None, "recipe": None, "set": []}
    assert finetune.params.dump() == given | {short.name: None for short in SHORT}
    for short in SHORT:
        schema = finetune.params.get_param(short.name).schema
        assert schema["type"] == ["null", JSON_TYPES[short.hint]]
        assert (schema["title"], schema.get("minimum")) == (short.meaning, short.minimum)


def test_a_better_version_is_the_champion_and_is_embedded_when_settings_follow(
    finetune, judged, monkeypatch
):
    monkeypatch.setenv("PONDER_MODEL", "registry:champion")
    registry = judged(promoted=True)
    promoted = promote(finetune)
    assert registry.champion() == "tuned-0"
    finetune.get_task("follows_champion").python_callable(promoted)


def test_nothing_is_embedded_anew_while_settings_name_another_model(finetune, judged):
    from airflow.sdk.exceptions import AirflowSkipException

    registry = judged(promoted=True)
    promoted = promote(finetune)  # a success, for the champion has changed
    assert registry.champion() == promoted["champion"] == "tuned-0"
    with pytest.raises(AirflowSkipException, match="PONDER_MODEL is 'nano'"):
        finetune.get_task("follows_champion").python_callable(promoted)


def test_the_verdict_is_what_the_task_returns(finetune, judged):
    judged(promoted=False)
    evaluate = finetune.get_task("evaluate")
    told = evaluate.python_callable(params=PARAMS, run_id=RUN_ID)
    assert told["checks"] == [{"rule": "gain", "passed": False, "says": "no better"}]


def test_a_version_that_is_no_better_skips_the_rest(finetune, judged):
    from airflow.sdk.exceptions import AirflowSkipException

    registry = judged(promoted=False)
    with pytest.raises(AirflowSkipException, match="no better"):
        promote(finetune)
    assert registry.champion() is None
