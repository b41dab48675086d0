"""What every task has in common: who owns it, when it is tried again, who hears of its failure.

Imported by the DAGs beside it, whose folder Airflow puts on the path; it holds no DAG itself. What
a deployment decides is read from variables of the environment, for a parse loads nothing of ponder;
docs/configuration.md has them.
"""

import json
import os
from datetime import timedelta

from airflow.sdk import (
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
)

OUTAGES_ALONE = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            # The steps raise it where a setting, a parameter or data must be changed by somebody.
            exception=["builtins.ValueError", "builtins.ImportError"],
            action=RetryAction.FAIL,
            reason="what is wrong stays wrong until somebody changes it",
        )
    ]
)


SHARD_LABEL = (
    "{{ task.op_kwargs['shard'][0][:60] }} to {{ task.op_kwargs['shard'][1][:60] }}, "
    "{{ task.op_kwargs['shard'][2] }} items"
)
"""What the UI shows of an embedding task, in place of a number: first and last id, items."""


def on_gpu():
    """Return where a task that needs the embedder runs: its pool, its queue, its pod."""
    queue = os.environ.get("PONDER_GPU_QUEUE")
    executor_config = json.loads(os.environ.get("PONDER_GPU_EXECUTOR_CONFIG") or "{}")
    return {
        "pool": "gpu",
        **({"queue": queue} if queue else {}),
        **({"executor_config": executor_config} if executor_config else {}),
    }


def task_rules(*, timeout, retry_delay=timedelta(minutes=5)):
    """Return the default arguments of a DAG's tasks."""
    return {
        "owner": os.environ.get("PONDER_OWNER") or "ponder",
        "retries": 2,
        "retry_policy": OUTAGES_ALONE,
        "retry_delay": retry_delay,
        "execution_timeout": timeout,
        "on_failure_callback": tell_failure,
    }


def tell_failure(context):
    """Tell whoever is to hear of it that a task has failed for good."""
    from ponder.settings_sources import load_settings
    from ponder.steps.alerts import post_alert

    task = context["task_instance"]
    reason = context.get("exception")
    post_alert(
        load_settings(), f"{task.dag_id}.{task.task_id} failed in run {task.run_id}: {reason!r}"
    )


def deadline(dag_id, hours):
    """Return the alert of a run that is not done so many hours after it was queued."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=hours),
        # In a module that the triggerer can import, which a DAG file is not.
        callback=AsyncCallback(
            "ponder.steps.alerts.tell_late", kwargs={"dag_id": dag_id, "hours": hours}
        ),
    )
