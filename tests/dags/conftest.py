"""Fixtures of the DAGs' tests: an Airflow and the DAGs it finds."""

import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

DAGS = Path(__file__).resolve().parents[2] / "dags"


@contextmanager
def logging_as_before():
    """Airflow's logging ends here: tests of other folders look at what is logged."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory):
    """An Airflow of the tests' own; it reads its settings when it is first imported."""
    assert "airflow" not in sys.modules, "a test of another folder imported it, with its own home"
    home = tmp_path_factory.mktemp("airflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(home))
        patch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(DAGS))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        patch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
        with logging_as_before():
            import airflow.settings  # noqa: F401
        yield home


@pytest.fixture(scope="module", autouse=True)
def quiet_afterwards(airflow_home):
    """What Airflow sets while a module's tests run ends with them."""
    with logging_as_before():
        yield
    for name in [name for name in os.environ if name.startswith("AIRFLOW_CTX_")]:
        del os.environ[name]  # which task this is, to whoever asks


@pytest.fixture(scope="session")
def dag_bag(airflow_home):
    from airflow.dag_processing.dagbag import BundleDagBag

    before = sys.path[:]
    yield BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
    sys.path[:] = before


@pytest.fixture(scope="session")
def database(airflow_home):
    """A migrated database with the pools that tasks wait for."""
    from airflow.models.pool import Pool
    from airflow.utils.db import initdb

    initdb()
    for name in ("gpu", "kafka"):
        Pool.create_or_update_pool(name, slots=1, description="", include_deferred=False)
