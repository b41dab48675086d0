"""Whether the Airflow beside us has the pools that tasks wait for, and a home that all share.

Airflow is asked by its own command, so nothing of it is imported.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence

from ponder.doctor.problem import Problem, said
from ponder.settings import Settings
from ponder.steps.airflow_database import airflow_command

POOLS = {"gpu": 1, "kafka": 1}
"""Pools that tasks name, and how many slots each must have at least."""

ANSWER_S = 60.0


def check_airflow(
    settings: Settings, run: Callable[[Sequence[str]], str] | None = None
) -> Iterator[Problem]:
    """Yield pools that are missing or of a wrong size, and a home that depends on the directory.

    Without an Airflow (a variable that names its home or its database) there is nothing to look at.

    Args:
        settings: the deployment.
        run: runs a command and returns its output; None: as a process.
    """
    if run is None and not has_airflow():
        return
    if not settings.home.is_absolute():
        yield Problem(
            check="airflow",
            what=f"home must be absolute, got {settings.home}: every task would look for it in "
            "its own working directory",
            remedy=f"set PONDER_HOME={settings.home.absolute()} for all parts of Airflow",
        )
    try:
        told = (run or _run)([airflow_command(), "pools", "list", "--output", "json"])
        slots = {row["pool"]: int(row["slots"]) for row in json.loads(told)}
    except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        yield Problem(
            check="airflow",
            what=f"`airflow pools list` must answer, got {said(error)}",
            remedy="make its database: `airflow db migrate`; `make airflow` does all of it",
        )
        return
    yield from _wrong_pools(slots)


def _wrong_pools(slots: dict[str, int]) -> Iterator[Problem]:
    for pool, least in POOLS.items():
        if slots.get(pool, 0) < least:
            yield Problem(
                check="airflow",
                what=f"pool {pool!r} must have a slot, or its tasks wait for ever; "
                f"got {slots.get(pool, 'no such pool')}",
                remedy=f'`airflow pools set {pool} 1 ""`',
            )
    if slots.get("kafka", 1) > 1:
        yield Problem(
            check="airflow",
            what=f"pool 'kafka' must have one slot, got {slots['kafka']}: two landings at a time "
            "share the partitions",
            remedy='`airflow pools set kafka 1 ""`',
        )


def has_airflow() -> bool:
    """Whether an Airflow is set up here: its home is named, or its database."""
    return bool({"AIRFLOW_HOME", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"} & os.environ.keys())


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=ANSWER_S,
        env=os.environ | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
    )
    if done.returncode:
        raise OSError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no answer")
    return done.stdout[done.stdout.index("[") :]
