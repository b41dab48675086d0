"""Export match features between two nights: after a backfill, or a correction of events.

**Reads** the lake. The parameters `first` and `last` name the days (UTC), with them; without, all
days of the log are meant. `again` also makes days that have settled, which a correction of events
by hand needs: what only landed late never changes them.

**Writes** the export folder, days in parallel, and then its manifest; and updates the asset
`match_features`, which the DAG `train_ranker` waits for; `nightly` exports by itself. A reader sees
the former export until the manifest is in place. A log with nothing to learn is skipped.

**Logic** `ponder.steps.features`.
"""

from datetime import timedelta

from airflow.sdk import Asset, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from task_rules import task_rules

MATCH_FEATURES = Asset("match_features")


@dag(
    schedule=None,  # the night exports by itself
    catchup=False,
    max_active_runs=1,
    default_args=task_rules(timeout=timedelta(hours=2)),
    params={
        "first": Param(None, type=["null", "string"], format="date", title="First day; all"),
        "last": Param(None, type=["null", "string"], format="date", title="Last day; all"),
        "again": Param(True, type="boolean", title="Days that have settled, too"),
    },
    tags=["ponder"],
    doc_md=__doc__,
)
def export_features():
    @task
    def plan(params=None) -> list[list[str]]:
        """Find the days that are to be made, in parts."""
        from ponder.settings_sources import load_settings
        from ponder.steps import features

        days = features.days_between(params["first"], params["last"])
        try:
            parts = features.plan_export(load_settings(), days, again=params["again"])
        except features.NothingToLearn as nothing:
            raise AirflowSkipException(str(nothing)) from nothing
        return [[str(part.first), str(part.last)] for part in parts]

    @task(
        map_index_template="{{ task.op_kwargs['part'] | join(' to ') }}",
        doc_md="Write the features of some days.",
    )
    def export_days(part: list[str], params=None) -> int:
        from ponder.settings_sources import load_settings
        from ponder.steps import features

        days = features.days_between(*part)
        return features.export_days(load_settings(), days, again=params["again"])

    @task(outlets=[MATCH_FEATURES], trigger_rule="none_failed")  # no day may be due
    def export(params=None):
        """Put the manifest of all days in place."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps import features

        days = features.days_between(params["first"], params["last"])
        try:
            return json_form(features.export_features(load_settings(), days=days))
        except features.NothingToLearn as nothing:
            raise AirflowSkipException(str(nothing)) from nothing

    export_days.expand(part=plan()) >> export()


export_features()
