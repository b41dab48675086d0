"""Which run, task, shard and model version this process works on, for its logs, spans and numbers.

A process works on one thing at a time, so it has one such mapping, whichever thread asks.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

AIRFLOW_VARIABLES = {
    "dag": "AIRFLOW_CTX_DAG_ID",
    "run": "AIRFLOW_CTX_DAG_RUN_ID",
    "task": "AIRFLOW_CTX_TASK_ID",
    "try": "AIRFLOW_CTX_TRY_NUMBER",
}
"""What Airflow tells a task of itself."""

_PROCESS_RUN = secrets.token_hex(6)
_known: dict[str, str] = {}


def current_ids() -> dict[str, str]:
    """Return what is known: `run` always, `dag`, `task` and `try` in Airflow, and what was noted.

    Outside of Airflow a run is a process.
    """
    told = {name: os.environ.get(variable) for name, variable in AIRFLOW_VARIABLES.items()}
    return {"run": _PROCESS_RUN} | {name: value for name, value in told.items() if value} | _known


def identify(**ids: str) -> None:
    """Note ids, such as `shard` and `version`, until the surrounding `identified` ends."""
    _known.update(ids)


@contextmanager
def identified(**ids: str) -> Iterator[None]:
    """Note ids for the block; whatever it notes itself is forgotten with them."""
    before = dict(_known)
    _known.update(ids)
    try:
        yield
    finally:
        _known.clear()
        _known.update(before)
