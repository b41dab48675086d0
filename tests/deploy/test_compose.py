"""The compose file holds together: what it names exists, in itself and in the project.

No engine runs here, so this is what a parser can see; docs/deploy.md says what was run.
"""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from cryptography.fernet import Fernet

from catalog.kafka.consumer import KafkaConfig
from catalog.kafka.publish import MAX_MESSAGE_BYTES
from ponder.cli.app import app
from ponder.settings import SETTINGS
from ponder.settings_sources import load_settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GPU = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
SERVICES = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?[^}]*\}")

each_service = pytest.mark.parametrize("name", SERVICES)


def environment(service):
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def with_defaults(text):
    """What compose makes of a value when .env is empty."""
    return VARIABLE.sub(lambda variable: variable[2] or "", text).replace("$$", "$")


def ponder_commands():
    """The arguments of every `ponder ...` that a service runs."""
    for name, service in SERVICES.items():
        command = service.get("command", [])
        if command[:1] == ["ponder"]:
            yield pytest.param(command[1:], id=name)
        elif command[:2] == ["sh", "-ec"]:
            for part in command[2].split("&&"):
                yield pytest.param(shlex.split(part)[1:], id=f"{name}: {part.strip()}")


@each_service
def test_images_are_pinned(name):
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert tag not in ("", "latest"), f"{image} has no version"
    if image == "ponder":
        assert (ROOT / SERVICES[name]["build"]["dockerfile"]).is_file()


def test_the_image_is_built_with_every_package_and_what_lies_in_it():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    setup, project = told["tool"]["setuptools"], told["project"]
    tops = {name.partition(".")[0] for name in setup["packages"]}
    needed = {*tops, "pyproject.toml", project["readme"], *project["license-files"]}
    sent = set((ROOT / ".dockerignore").read_text().splitlines())
    assert {f"!{path}" for path in needed} <= sent
    found = {path.parent.relative_to(ROOT) for top in tops for path in (ROOT / top).rglob("*.py")}
    assert {".".join(folder.parts) for folder in found} == set(setup["packages"])
    named = setup["package-data"].keys() - {"*"}
    assert named <= set(setup["packages"])  # else it is not installed


@each_service
def test_a_service_stays_up_and_says_how_it_is_or_ends(name):
    service = SERVICES[name]
    ends = service["restart"] in ("no", "on-failure:3")
    assert ends != ("healthcheck" in service)
    assert ends or service["restart"] == "unless-stopped"


@each_service
def test_a_service_waits_only_for_what_will_come(name):
    for target, wait in SERVICES[name].get("depends_on", {}).items():
        ends = "healthcheck" not in SERVICES[target]
        condition = "service_completed_successfully" if ends else "service_healthy"
        assert wait == {"condition": condition}, target
        assert SERVICES[target].get("profiles", []) == [], f"{target} is not always there"


@each_service
def test_volumes_are_declared_and_files_exist(name):
    for mount in SERVICES[name].get("volumes", []):
        source = mount.split(":")[0]
        here = (ROOT / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
        assert here, mount


def test_every_declared_volume_is_used():
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {mount.split(":")[0] for mount in mounts if mount[0] != "."} == set(COMPOSE["volumes"])


def test_ports_of_this_machine_are_local_and_unique():
    published = [
        with_defaults(port) for service in SERVICES.values() for port in service.get("ports", [])
    ]
    assert len(published) == len(set(published)) == 4
    for port in published:
        assert port.startswith("127.0.0.1:")
    assert len({port.split(":")[1] for port in published}) == len(published)


@pytest.mark.parametrize("arguments", list(ponder_commands()))
def test_every_ponder_command_is_one(arguments):
    command = typer.main.get_command(app)
    name, *rest = arguments
    command.commands[name].make_context(name, rest)


def test_ponder_variables_are_settings():
    known = {f"PONDER_{name.upper()}" for name in SETTINGS}
    for service in [*SERVICES.values(), *GPU["services"].values()]:
        assert {name for name in environment(service) if name.startswith("PONDER_")} <= known


def test_the_defaults_are_settings_that_work(monkeypatch):
    for name, value in environment(SERVICES["recall"]).items():
        monkeypatch.setenv(name, with_defaults(value))
    settings = load_settings()
    assert settings.kafka.split(":")[0] in SERVICES
    assert re.fullmatch(r"http://milvus:19530", settings.milvus_uri)
    assert settings.model == "nano"


def test_every_ponder_service_sees_the_same_deployment():
    ours = [
        {key: value for key, value in environment(service).items() if key.startswith("PONDER_")}
        for service in SERVICES.values()
        if service["image"].startswith("ponder:")
    ]
    assert all(each == ours[0] for each in ours)


def test_env_example_lists_every_variable_with_its_default():
    text = (ROOT / "docker-compose.yml").read_text()
    used = {name: default for name, default in VARIABLE.findall(text)}
    lines = (ROOT / ".env.example").read_text().splitlines()
    listed = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(listed) == set(used)
    for name, value in listed.items():
        assert value in ("", used[name]), name


def test_the_parts_of_airflow_share_their_keys_and_find_the_api_server():
    parts = [each for name, each in SERVICES.items() if name.startswith("airflow-")]
    for name in ("FERNET_KEY", "EXECUTION_API_SERVER_URL"):
        assert len({environment(part)[f"AIRFLOW__CORE__{name}"] for part in parts}) == 1
    shared = environment(SERVICES["airflow-scheduler"])
    assert len(with_defaults(shared["AIRFLOW__API_AUTH__JWT_SECRET"])) >= 64  # HS512
    Fernet(with_defaults(shared["AIRFLOW__CORE__FERNET_KEY"]))
    assert "//airflow-api-server:8080/" in shared["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]


def test_kafka_has_the_topics_that_are_read_and_takes_every_image():
    script = SERVICES["kafka-topics"]["command"][0]
    config = KafkaConfig(bootstrap_servers="kafka:9092")
    assert f"${{PONDER_KAFKA_ITEM_TOPIC:-{config.item_topic}}}" in script
    assert f"${{PONDER_KAFKA_EVENT_TOPIC:-{config.event_topic}}}" in script
    assert int(SERVICES["kafka"]["environment"]["KAFKA_MESSAGE_MAX_BYTES"]) >= MAX_MESSAGE_BYTES


def test_the_gpu_goes_to_the_service_that_runs_the_tasks():
    assert set(GPU["services"]) == {"airflow-scheduler"}
    assert environment(SERVICES["airflow-scheduler"])["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"


def test_the_init_script_makes_the_pool_of_the_dag():
    assert "airflow pools set gpu " in (ROOT / "deploy" / "airflow-init.sh").read_text()
    assert 'pool="gpu"' in (ROOT / "dags" / "nightly.py").read_text()
