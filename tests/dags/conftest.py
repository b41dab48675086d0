"""Fixtures of the DAGs' tests: an Airflow and the DAGs it finds."""

import logging
from pathlib import Path

import pytest

DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory):
    """An Airflow of the tests' own; it reads its settings when it is first imported."""
    home = tmp_path_factory.mktemp("airflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(home))
        patch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(DAGS))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        patch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
        yield home


# Noted on import: session fixtures, which load Airflow, come before those of a module.
ROOT = logging.getLogger()
HANDLERS_BEFORE, LEVEL_BEFORE = ROOT.handlers[:], ROOT.level


@pytest.fixture(scope="module", autouse=True)
def logging_as_before():
    """Airflow's logging ends with these tests: those of other folders look at what is logged."""
    yield
    ROOT.handlers[:] = HANDLERS_BEFORE
    ROOT.setLevel(LEVEL_BEFORE)


@pytest.fixture(scope="session")
def dag_bag(airflow_home):
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=DAGS)
