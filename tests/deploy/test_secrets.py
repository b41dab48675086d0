"""What everybody knows is refused, and a password may hold anything."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from sqlalchemy.engine import make_url

from tests.deploy.test_compose import SERVICES, environment, with_defaults

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DEFAULTS = {k: with_defaults(v) for k, v in environment(SERVICES["secrets-check"]).items()}
OF_ONE_S_OWN = {
    "AIRFLOW_PASSWORD": "p1",
    "POSTGRES_PASSWORD": "p2",
    "AIRFLOW_FERNET_KEY": "x3ISUV0qzDqIzw4eWjVIEwxFBhsnYYIvCrfQ0mZ3mKo=",
    "AIRFLOW_SECRET_KEY": "s" * 32,
    "AIRFLOW_JWT_SECRET": "j" * 64,
}
NASTY = ["plain", "a b", "p@ss:w/o?r#d%20", "ü€'\"", "100%", "%(x)s", "$HOME", "\\n"]


def start(script, *arguments, **given):
    """What a script says, and how it ends; it sees these variables alone."""
    told = subprocess.run(
        [sys.executable, str(DEPLOY / script), *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8", **given},
        capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    return told.returncode, told.stdout + told.stderr


def test_nothing_starts_with_the_demo_s_secrets_outside_the_demo():
    code, said = start("check_secrets.py", **DEFAULTS)
    assert code == 1
    for name in OF_ONE_S_OWN:
        assert name in said
    assert start("check_secrets.py", **DEFAULTS | {"COMPOSE_PROFILES": "demo"}) == (0, "")


@pytest.mark.parametrize("name", OF_ONE_S_OWN)
def test_a_single_one_that_is_left_is_found(name):
    given = DEFAULTS | OF_ONE_S_OWN
    assert start("check_secrets.py", **given) == (0, "")
    code, said = start("check_secrets.py", **given | {name: DEFAULTS[name]})
    assert code == 1
    assert len(said.splitlines()) == 1
    assert said.startswith(name)


@pytest.mark.parametrize(
    ("profile", "name"),
    [("celery", "REDIS_PASSWORD"), ("store", "STORE_PASSWORD"), ("monitoring", "GRAFANA_PASSWORD")],
)
def test_a_secret_of_a_profile_counts_where_it_is(profile, name):
    given = DEFAULTS | OF_ONE_S_OWN | {"COMPOSE_PROFILES": profile}
    if profile == "celery":
        given |= {"AIRFLOW_EXECUTOR": "CeleryExecutor"}
    code, said = start("check_secrets.py", **given)
    assert (code, said.split()[0]) == (1, name)
    assert start("check_secrets.py", **given | {name: "my own secret"}) == (0, "")


def test_the_demo_s_secrets_are_those_of_the_compose_file():
    namespace = {}
    exec((DEPLOY / "check_secrets.py").read_text(), namespace | {"__name__": "x"}, namespace)
    assert namespace["DEMO"] == {name: DEFAULTS[name] for name in namespace["DEMO"]}
    assert set(namespace["DEMO"]) == set(DEFAULTS) - {"COMPOSE_PROFILES", "AIRFLOW_EXECUTOR"}


def test_workers_without_their_executor_are_found_and_the_other_way_round():
    given = DEFAULTS | {"COMPOSE_PROFILES": "demo,gpu"}
    code, said = start("check_secrets.py", **given)
    assert code == 1
    assert "AIRFLOW_EXECUTOR=CeleryExecutor" in said
    code, said = start("check_secrets.py", **given | {"AIRFLOW_EXECUTOR": "CeleryExecutor"})
    assert code == 1
    assert "add celery to COMPOSE_PROFILES" in said
    given |= {"AIRFLOW_EXECUTOR": "CeleryExecutor", "COMPOSE_PROFILES": "demo,celery,gpu"}
    assert start("check_secrets.py", **given) == (0, "")


@pytest.mark.parametrize("password", NASTY)
def test_an_address_survives_any_password(password):
    code, text = start("address.py", "postgresql+psycopg2", POSTGRES_PASSWORD=password)
    url = make_url(text)
    assert (code, url.password, url.host, url.database) == (0, password, "postgres", "airflow")
    _, text = start("address.py", "redis", REDIS_PASSWORD=password)
    assert text.startswith("redis://:")
    assert text.endswith("@redis:6379/0")
    assert unquote(text.removeprefix("redis://:").rpartition("@")[0]) == password


def test_airflow_asks_for_its_addresses_by_those_commands():
    told = environment(SERVICES["airflow-scheduler"])
    commands = [value for name, value in told.items() if name.endswith("_CMD")]
    assert len(commands) == 3
    for command in commands:
        program, script, scheme = command.split()
        assert (program, script) == ("python", "/app/deploy/address.py")
        assert start("address.py", scheme, POSTGRES_PASSWORD="x", REDIS_PASSWORD="x")[0] == 0
    assert not [value for value in told.values() if "://" in value and "_PASSWORD" in value]
