"""Land what waits in Kafka, every few minutes.

**Reads** the Kafka topics `items` and `events`; without `PONDER_KAFKA` every run is skipped, for a
folder is landed by `nightly`.

**Writes** the lake's tables `items`, `events`, `media` and `dead_letters`, with the offset that
each batch reaches: the next run goes on where one that failed or was killed stood. The assets
`items` and `events` are updated when something came, so that other DAGs may wait for them. The pool
`kafka` has one slot, so that no other landing shares the partitions with this one.

**Logic** `ponder.steps.land.land_kafka`.
"""

from datetime import timedelta

from airflow.sdk import Asset, CronTriggerTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from task_rules import task_rules

ITEMS = Asset("items")
EVENTS = Asset("events")

READ_S = 240.0
"""Seconds of reading; what is left waits for the next run."""


@dag(
    schedule=CronTriggerTimetable(
        "*/5 * * * *", timezone="UTC", run_immediately=timedelta(minutes=5)
    ),
    catchup=False,
    max_active_runs=1,
    default_args=task_rules(
        timeout=timedelta(minutes=20),  # the last batch is written after READ_S
        retry_delay=timedelta(seconds=30),
    ),
    tags=["ponder"],
    doc_md=__doc__,
)
def land():
    @task(pool="kafka")
    def read():
        """Land what waits, for some minutes."""
        from ponder.json_form import json_form
        from ponder.settings_sources import load_settings
        from ponder.steps.land import land_kafka

        settings = load_settings()
        if not settings.kafka:
            raise AirflowSkipException("PONDER_KAFKA names no brokers")
        return json_form(land_kafka(settings, timeout_s=READ_S))

    @task(outlets=[ITEMS])
    def items(landed):
        """Say that items changed."""
        if not any(landed["items"][kind] for kind in ("inserted", "updated", "deleted")):
            raise AirflowSkipException("no item changed")

    @task(outlets=[EVENTS])
    def events(landed):
        """Say that events came."""
        if not landed["events"]:
            raise AirflowSkipException("no event came")

    landed = read()
    items(landed)
    events(landed)


land()
