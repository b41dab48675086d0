"""Bring the lake, the index and the ranker up to date.

**Reads** the Kafka topics `items` and `events` when `PONDER_KAFKA` is set, else the folder in
`PONDER_DATA`; the parameter `data` of a run names a folder that is landed instead of either.

**Writes** the lake; the Milvus collection of the configured model version, which goes live only
when it is valid; the match features; the ranker. The asset `item_index` is updated when the index
changed, so that other DAGs may wait for it. Every task finds what is left to do, so a retry
or a second run in one night does nothing twice.

**Logic** `ponder.steps`, one function per task.
"""

from datetime import timedelta
from pathlib import Path

from airflow.sdk import Asset, CronTriggerTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from task_rules import SHARD_LABEL, deadline, on_gpu, task_rules

ITEM_INDEX = Asset("item_index")


@dag(
    # A deployment that has just come up waits for the night: it has landed nothing yet. What is
    # due stays due for five minutes, else a parse right behind the hour would skip the first night.
    schedule=CronTriggerTimetable(
        "0 2 * * *", timezone="UTC", run_immediately=timedelta(minutes=5)
    ),
    catchup=False,
    max_active_runs=1,  # an index has one writer at a time
    default_args=task_rules(timeout=timedelta(hours=2)),
    deadline=deadline("nightly", hours=6),
    params={"data": Param(None, type=["null", "string"], title="Folder to land, not Kafka")},
    tags=["ponder"],
    doc_md=__doc__,
)
def nightly():
    @task(pool="kafka")
    def land(params=None):
        """Land what waits in Kafka, or a folder."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.land import land_folder, land_kafka

        settings = load_settings()
        if settings.kafka and not params["data"]:
            return json_form(land_kafka(settings))
        folder = params["data"] or settings.data
        if not folder:
            raise ValueError(
                "there must be something to land; set PONDER_KAFKA to brokers, PONDER_DATA to a "
                "folder, or the run's parameter `data`"
            )
        return json_form(land_folder(settings, Path(folder)))

    @task
    def plan() -> list[list]:
        """Find what the configured version has not embedded, in shards."""
        from ponder.settings_sources import load_settings
        from ponder.steps.embed import plan

        return [list(shard) for shard in plan(load_settings()).sized_shards()]

    @task(**on_gpu(), map_index_template=SHARD_LABEL, doc_md="Embed what is left of a range.")
    def embed(shard: list):
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.embed import embed

        first, last, _ = shard
        return json_form(embed(load_settings(), (first, last)))

    @task(trigger_rule="none_failed")  # nothing new to embed skips `embed`, not the night
    def index():
        """Bring the collections of all versions in line with the lake."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.index import index

        return json_form(index(load_settings()))

    @task
    def validate():
        """Measure whether the configured version may go live."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.validation import validate

        return json_form(validate(load_settings()))

    @task
    def promote():
        """Serve the configured version from now on."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.versions import promote

        return json_form(promote(load_settings()))

    @task(outlets=[ITEM_INDEX])
    def index_changed(indexed, promoted):
        """Say that what is served changed."""
        is_new = promoted["live"] != promoted["before"]
        if not (is_new or indexed["upserted"] or indexed["deleted"]):
            raise AirflowSkipException("the index is as it was")

    @task
    def features():
        """Export the match features of the days that are new."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.features import NothingToLearn, export_features

        try:
            return json_form(export_features(load_settings()))
        except NothingToLearn as nothing:
            raise AirflowSkipException(str(nothing)) from nothing

    @task
    def ranker():
        """Train a ranker, and promote it when it is as good as the champion."""
        from ponder.settings_sources import load_settings
        from ponder.steps.rank import NothingToLearn, train_ranker

        try:
            train_ranker(load_settings())
        except NothingToLearn as nothing:  # the former champion stays
            raise AirflowSkipException(str(nothing)) from nothing

    shards = plan()
    land() >> shards
    indexed, promoted = index(), promote()
    embed.expand(shard=shards) >> indexed >> validate() >> promoted >> features() >> ranker()
    index_changed(indexed, promoted)


nightly()
