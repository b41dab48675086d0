"""The nightly DAG: it parses, keeps the house rules, and ends as the steps run by hand do."""

import itertools
import os
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
import torch

from catalog.bazaar.generator import BazaarConfig, write_bazaar
from catalog.lake.tables import DEAD_LETTERS, EMBEDDINGS, EVENTS, ITEMS, MEDIA
from embedder.nano import architecture
from embedder.nano.checkpoint import save_checkpoint
from embedder.prompting.inputs import Inputs
from features.export import read_export
from ponder.settings import Settings
from ponder.steps.embed import embed, plan
from ponder.steps.features import export_features
from ponder.steps.index import index
from ponder.steps.land import land_folder
from ponder.steps.rank import train_ranker
from ponder.steps.validation import validate
from ponder.steps.versions import promote
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_index, open_lake

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="install the 'airflow' extra")

DAGS = Path(__file__).resolve().parents[2] / "dags"
ORDER = ["land", "plan", "embed", "index", "validate", "promote", "features", "ranker"]


@pytest.fixture(scope="module")
def nightly(dag_bag):
    return dag_bag.dags["nightly"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model version with random weights, wide enough that items differ."""
    tokenizer = architecture.build_tokenizer(0)
    backbone = architecture.build_model(tokenizer, 0)
    generator = torch.Generator().manual_seed(1)
    for parameter in backbone.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.15, generator=generator)
    folder = tmp_path_factory.mktemp("model")
    processor = architecture.build_image_processor()
    save_checkpoint(backbone, Inputs(tokenizer, processor, max_text_tokens=64), folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small bazaar with one line that is no item."""
    folder = tmp_path_factory.mktemp("bazaar")
    config = BazaarConfig(
        num_items=80, num_users=12, num_weeks=2, requests_per_user=4, num_queries=9
    )
    write_bazaar(folder, config)
    with (folder / "items.jsonl").open("a") as file:
        file.write('{"item_id": "broken"}\n')
    return folder


@pytest.fixture(scope="module")
def by_hand(model, data, tmp_path_factory):
    """The deployment after the steps were called one after the other."""
    home = tmp_path_factory.mktemp("by_hand")
    settings = Settings(home=home, model=str(model), policy="never", shard_size=30)
    land_folder(settings, data)
    for shard in plan(settings).shards:
        embed(settings, shard)
    for step in (index, validate, promote, export_features, train_ranker):
        step(settings)
    return settings


@pytest.fixture(scope="module")
def by_airflow(nightly, database, model, data, tmp_path_factory):
    """The deployment after two runs of the DAG, and those runs."""
    home = tmp_path_factory.mktemp("by_airflow")
    settings = Settings(home=home, model=str(model), policy="never", shard_size=30)
    environ = {
        "PONDER_HOME": str(home),
        "PONDER_MODEL": str(model),
        "PONDER_POLICY": "never",
        "PONDER_SHARD_SIZE": "30",
        "PONDER_DATA": str(data),
        "PONDER_CONFIG": os.devnull,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PONDER_")]:
            patch.delenv(name)
        for name, value in environ.items():
            patch.setenv(name, value)
        # Airflow 3.3's `dag.test` looks for the alert in a table that it has not written.
        patch.setattr(nightly, "deadline", None)
        yield settings, [nightly.test(), nightly.test()]


def test_every_file_parses(dag_bag):
    assert dag_bag.import_errors == {}


def test_one_dag_per_file_named_after_it(dag_bag):
    assert {dag.dag_id for dag in dag_bag.dags.values()} == {
        path.stem for path in DAGS.glob("*.py") if path.stem != "task_rules"
    }


def test_no_file_hides_a_package():
    packages = {path.parent.name for path in DAGS.parent.glob("*/__init__.py")}
    assert not packages & {path.stem for path in DAGS.glob("*.py")}


def test_house_rules(dag_bag):
    for dag in dag_bag.dags.values():
        for word in ("**Reads**", "**Writes**", "**Logic**"):
            assert word in dag.doc_md, f"{dag.dag_id}: say what it {word} in doc_md"
        assert dag.tags, f"{dag.dag_id}: no tags"
        assert not dag.catchup, f"{dag.dag_id}: backfills are started by hand"
        assert dag.max_active_runs == 1, f"{dag.dag_id}: an index has one writer at a time"
        for task in dag.tasks:
            assert task.retries >= 1, f"{dag.dag_id}.{task.task_id}: a task must be retryable"
            assert task.execution_timeout, f"{dag.dag_id}.{task.task_id}: no execution_timeout"
            assert task.owner == "ponder", f"{dag.dag_id}.{task.task_id}: nobody owns it"
            assert task.doc_md, f"{dag.dag_id}.{task.task_id}: say what it does"
            assert task.on_failure_callback, f"{dag.dag_id}.{task.task_id}: nobody hears of it"


def test_the_tasks_run_in_the_order_of_the_data(nightly):
    assert {task.task_id for task in nightly.tasks} == {*ORDER, "index_changed"}
    for before, after in itertools.pairwise(ORDER):
        assert nightly.get_task(after).upstream_task_ids == {before}
    assert nightly.get_task("embed").pool == "gpu"


def test_a_night_by_airflow_fills_the_same_tables(by_hand, by_airflow):
    settings, runs = by_airflow
    assert [run.state for run in runs] == ["success", "success"]
    for table in (ITEMS, EVENTS, MEDIA, EMBEDDINGS, DEAD_LETTERS):
        expected, got = (rows(each, table) for each in (by_hand, settings))
        assert len(expected) > 0, table.name
        assert got.equals(expected), table.name


def test_a_night_by_airflow_serves_the_same_index(by_hand, by_airflow):
    expected, got = (served(each) for each in (by_hand, by_airflow[0]))
    assert got == expected


def test_a_night_by_airflow_exports_the_same_features_and_trains_the_same_ranker(
    by_hand, by_airflow
):
    expected, got = (read_export(each.features_folder) for each in (by_hand, by_airflow[0]))
    assert len(expected.frame) > 0
    assert got.frame.equals(expected.frame)
    expected, got = (
        (each.reports_folder / "ranking.json").read_text() for each in (by_hand, by_airflow[0])
    )
    assert got == expected


def test_a_night_with_nothing_to_embed_still_reaches_the_ranker(by_airflow):
    states = {task.task_id: task.state for task in by_airflow[1][1].get_task_instances()}
    idle = {"embed": "skipped", "index_changed": "skipped"}
    assert states == dict.fromkeys(ORDER, "success") | idle


def test_the_first_night_says_that_the_index_changed(by_airflow):
    states = {task.task_id: task.state for task in by_airflow[1][0].get_task_instances()}
    assert states["index_changed"] == "success"


@pytest.mark.parametrize("dag_id", ["nightly", "reembed"])
@pytest.mark.parametrize(
    ("change", "is_changed"),
    [({}, False), ({"upserted": 1}, True), ({"deleted": 1}, True), ({"before": "old"}, True)],
)
def test_the_asset_of_the_index_is_updated_only_when_it_changed(
    dag_bag, dag_id, change, is_changed
):
    from airflow.sdk.exceptions import AirflowSkipException

    task = dag_bag.dags[dag_id].get_task("index_changed")
    assert [asset.name for asset in task.outlets] == ["item_index"]
    told = {"upserted": 0, "deleted": 0, "live": "v", "before": "v"} | change
    expected = nullcontext() if is_changed else pytest.raises(AirflowSkipException)
    with expected:
        task.python_callable(*[told] * (2 if dag_id == "nightly" else 1))


def test_a_new_deployment_waits_for_the_night(by_airflow):
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        first = session.get(DagModel, "nightly").next_dagrun_create_after
    assert timedelta(0) < first - datetime.now(UTC) <= timedelta(days=1)
    assert (first.hour, first.minute) == (2, 0)


def test_landing_says_so_when_there_is_nothing_to_land(nightly, monkeypatch):
    monkeypatch.delenv("PONDER_KAFKA", raising=False)
    monkeypatch.delenv("PONDER_DATA", raising=False)
    with pytest.raises(ValueError, match="set PONDER_KAFKA"):
        nightly.get_task("land").python_callable(params={"data": None})


def test_a_night_without_anything_to_rank_skips_the_ranker(nightly, monkeypatch):
    from airflow.sdk.exceptions import AirflowSkipException

    from ranker.training_rows import NothingToLearn

    def export(settings):
        raise NothingToLearn("the lake's events hold no requests to learn from")

    monkeypatch.setattr("ponder.steps.features.export_features", export)
    with pytest.raises(AirflowSkipException, match="no requests to learn from"):
        nightly.get_task("features").python_callable()


def rows(settings, table) -> pl.DataFrame:
    frame = open_lake(settings).read(table).sort(table.key)
    return frame.drop("failed_at", strict=False)  # the clock of the landing


def served(settings):
    version = configured_version(settings)
    with open_index(settings) as index:
        return index.live_version(), sorted(index.keys(version).rows())
