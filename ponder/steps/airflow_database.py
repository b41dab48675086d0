"""Keep Airflow's own database small, by its own command."""

import logging
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ponder.settings import Settings

CONNECTION = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
HIDDEN = "airflow-db-not-allowed:"
"""What Airflow puts in the place of the address."""

KEEP = timedelta(days=90)
CLEAN = ("db", "clean", "--yes", "--skip-archive", "--clean-before-timestamp")
CLEAN_S = 3_600.0

logger = logging.getLogger(__name__)


def clean_airflow(settings: Settings, *, now: datetime | None = None) -> str:
    """Remove what is older than 90 days from Airflow's database; return up to when.

    A task may not use that database: Airflow hides its address in the variables that may hold it.
    So the address is the setting `airflow_database`, or that of Airflow's configuration.

    Args:
        settings: the deployment.
        now: with a time zone; None: this moment.

    Raises:
        RuntimeError: the command failed; the text has its last line.
    """
    before = ((now or datetime.now(UTC)) - KEEP).isoformat(timespec="seconds")
    environment = {
        name: value for name, value in os.environ.items() if not value.startswith(HIDDEN)
    }
    if address := settings.airflow_database.get_secret_value():
        environment[CONNECTION] = address
    done = subprocess.run(
        [airflow_command(), *CLEAN, before],
        check=False,
        capture_output=True,
        text=True,
        timeout=CLEAN_S,
        env=environment,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise RuntimeError(
            f"`airflow db clean` must end with 0, got {done.returncode} and {said!r}; where "
            f"Airflow gets its database from {CONNECTION}, set PONDER_AIRFLOW_DATABASE to the same"
        )
    logger.info("airflow database cleaned before=%s", before)
    return before


def airflow_command() -> str:
    """Return the path of Airflow's command: beside Python's, or on the path."""
    beside = Path(sys.executable).with_name("airflow")
    return str(beside) if beside.exists() else shutil.which("airflow") or "airflow"
