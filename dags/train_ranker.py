"""Train the ranker after `export_features`, and promote it when it is as good as the champion.

**Reads** the export folder; the lake, to look for leaks; the champion of the embedder version.

**Writes** the registry of rankers, the reports, and the champion when the rules of promotion are
for it; the service takes it up by itself. A log with nothing to learn is skipped, and the champion
stays.

**Logic** `ponder.steps.rank.train_ranker`.
"""

from datetime import timedelta

from airflow.sdk import Asset, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from task_rules import task_rules

MATCH_FEATURES = Asset("match_features")
RANKER = Asset("ranker")


@dag(
    schedule=[MATCH_FEATURES],
    catchup=False,
    max_active_runs=1,
    default_args=task_rules(timeout=timedelta(hours=2)),
    tags=["ponder"],
    doc_md=__doc__,
)
def train_ranker():
    @task
    def train():
        """Train a ranker and hold it against the champion."""
        from ponder.settings_sources import load_settings
        from ponder.steps import rank

        try:
            trained = rank.train_ranker(load_settings())
        except rank.NothingToLearn as nothing:
            raise AirflowSkipException(str(nothing)) from nothing
        return {"name": trained.name, "promoted": trained.promoted}

    @task(outlets=[RANKER])
    def promoted(trained):
        """Say that another ranker serves."""
        if not trained["promoted"]:
            raise AirflowSkipException(f"{trained['name']} is not promoted; the champion stays")

    promoted(train())


train_ranker()
