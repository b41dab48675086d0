"""Export match features anew, between two nights: after a backfill, or a correction of events.

**Reads** the lake.

**Writes** the export folder and updates the asset `match_features`, which the DAG `train_ranker`
waits for; `nightly` does the same by itself. A day that did not change is not written again; a
log with nothing to learn is skipped.

**Logic** `ponder.steps.features`.
"""

from datetime import timedelta

from airflow.sdk import Asset, dag, task
from airflow.sdk.exceptions import AirflowSkipException

MATCH_FEATURES = Asset("match_features")


@dag(
    schedule=None,  # the night exports by itself
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=2),
    },
    tags=["ponder"],
    doc_md=__doc__,
)
def export_features():
    @task(outlets=[MATCH_FEATURES])
    def export():
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps import features

        try:
            return json_form(features.export_features(load_settings()))
        except features.NothingToLearn as nothing:
            raise AirflowSkipException(str(nothing)) from nothing

    export()


export_features()
