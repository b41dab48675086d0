"""Keep a deployment small, whole and known to be so, while nothing else writes.

**Reads** everything: lake, topics, index, runs of fine-tunes.

**Writes** the lake's tables anew with fewer files, and without those that no kept moment needs;
lands dead letters of stage `media` again, for their image servers may be back; drops the
collections of versions that nobody needs, and the folders of old fine-tunes. Airflow's own database
loses what is older than 90 days. An audit ends it, and fails when places differ that should agree.
A run in which any task failed is red, whatever the tasks after it did.

Each task has its days: `compact`, `replay` and `audit` run every day, the others on Sundays. With
the parameter `everything` all run at once.

**Logic** `ponder.steps`, one function per task.
"""

import itertools
from datetime import UTC, datetime, timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from task_rules import deadline, task_rules

SUNDAY = 6


def due_on_sundays(params):
    """Skip the task on any other day, unless everything is asked for."""
    if not params["everything"] and datetime.now(UTC).weekday() != SUNDAY:
        raise AirflowSkipException("its day is Sunday (UTC)")


@dag(
    schedule=CronTriggerTimetable(
        "30 5 * * *", timezone="UTC", run_immediately=timedelta(minutes=5)
    ),
    catchup=False,
    max_active_runs=1,
    default_args=task_rules(timeout=timedelta(hours=4)),
    deadline=deadline("maintenance", hours=8),
    params={"everything": Param(False, type="boolean", title="Whatever the day is")},
    tags=["ponder"],
    doc_md=__doc__,
)
def maintenance():
    @task(pool="kafka")
    def replay():
        """Land the letters again whose images could not be fetched."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.dead_letters import replay_media_letters

        return json_form(replay_media_letters(load_settings()))

    @task
    def compact():
        """Make few large files of many small ones."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.maintenance import compact

        return json_form(compact(load_settings()))

    @task
    def vacuum(params=None):
        """Remove the files that no moment of the last 30 days needs."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.maintenance import vacuum

        due_on_sundays(params)
        return json_form(
            vacuum(load_settings(), days=30, force=False, media=False, deleted=True, dry_run=False)
        )

    @task
    def retire_versions(params=None):
        """Drop collections that are neither live nor previous nor of this week."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.versions import retire

        due_on_sundays(params)
        return json_form(retire(load_settings(), keep=1, days=7))

    @task
    def retire_runs(params=None):
        """Remove the folders of fine-tunes that nobody has touched for long."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.finetune_runs import retire_runs

        due_on_sundays(params)
        return json_form(retire_runs(load_settings()))

    @task
    def clean_airflow(params=None):
        """Remove what Airflow's own database remembers of runs 90 days ago."""
        from ponder.settings_sources import load_settings
        from ponder.steps.airflow_database import clean_airflow

        due_on_sundays(params)
        return clean_airflow(load_settings())

    @task
    def audit():
        """Compare topics, lake, embeddings and index; fail when they differ."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.audit import audit_or_fail

        return json_form(audit_or_fail(load_settings()))

    # A run is as red as its last tasks are, and one that could not start here counts as red.
    @task(trigger_rule="none_failed")
    def all_went_well():
        """Stand for all tasks: it cannot start when one of them failed."""

    upkeep = [replay(), compact(), vacuum(), retire_versions(), retire_runs(), clean_airflow()]
    tasks = [*upkeep, audit()]
    # One after the other, so that two do not commit to one table; whatever fails, the rest goes on.
    for before, after in itertools.pairwise(tasks):
        after.operator.trigger_rule = "all_done"
        before >> after
    tasks >> all_went_well()


maintenance()
