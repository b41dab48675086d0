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
MAIN = ROOT / "docker-compose.yml"
FILES = [MAIN, *(ROOT / path for path in yaml.safe_load(MAIN.read_text())["include"])]
COMPOSE = {path: yaml.safe_load(path.read_text()) for path in FILES}
SERVICES = {
    name: service for file in COMPOSE.values() for name, service in file["services"].items()
}
FOLDER = {name: path.parent for path, file in COMPOSE.items() for name in file["services"]}
"""Service -> what paths in it are relative to."""

DEPLOYMENT = set(SERVICES) - {"recall-gpu", "airflow-worker-gpu"}
"""Those that differ in nothing that Ponder is told."""
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
        elif command[:2] == ["sh", "-ec"] and "ponder " in command[2]:
            for part in command[2].split("&&"):
                yield pytest.param(shlex.split(part)[1:], id=f"{name}: {part.strip()}")


@each_service
def test_images_are_pinned(name):
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert tag not in ("", "latest"), f"{image} has no version"


def test_one_tag_has_one_build_and_everything_else_waits_for_it():
    ours = {name for name, each in SERVICES.items() if each["image"].startswith("ponder:")}
    assert len({SERVICES[name]["image"] for name in ours}) == 1
    [builder] = [name for name, each in SERVICES.items() if "build" in each]
    build = SERVICES[builder]["build"]
    context = (FOLDER[builder] / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).is_file()
    assert all(SERVICES[name]["pull_policy"] == "never" for name in ours - {builder})
    assert all(builder in waits_for(name) for name in ours - {builder})


def waits_for(name):
    """All services that must have come before one, directly or not."""
    direct = set(SERVICES[name].get("depends_on", ()))
    return direct.union(*map(waits_for, direct)) if direct else set()


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
        there = set(SERVICES[target].get("profiles", []))
        assert not there or set(SERVICES[name].get("profiles", [])) <= there != set(), target


@each_service
def test_volumes_are_declared_and_files_exist(name):
    for mount in SERVICES[name].get("volumes", []):
        source = mount.split(":")[0]
        declared = next(f["volumes"] for f in COMPOSE.values() if name in f["services"])
        here = (FOLDER[name] / source).is_file() if source.startswith(".") else source in declared
        assert here, mount


def test_every_declared_volume_is_used():
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    declared = [name for file in COMPOSE.values() for name in file["volumes"]]
    assert {mount.split(":")[0] for mount in mounts if mount[0] != "."} == set(declared)
    assert len(declared) == len(set(declared))  # compose refuses two of a name


def test_ports_of_this_machine_are_local_and_unique():
    published = [
        with_defaults(port) for service in SERVICES.values() for port in service.get("ports", [])
    ]
    assert len(published) == len(set(published)) == 8
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
    for service in SERVICES.values():
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
        for name, service in SERVICES.items()
        if service["image"].startswith("ponder:") and name in DEPLOYMENT - {"secrets-check"}
    ]
    assert all(each == ours[0] for each in ours)
    for name in set(SERVICES) - DEPLOYMENT:
        told = {k: v for k, v in environment(SERVICES[name]).items() if k.startswith("PONDER_")}
        assert told == ours[0] | {"PONDER_DEVICE": "cuda"}
    # `auto` would make the vectors of a GPU those of another version than a CPU asks for.
    assert with_defaults(ours[0]["PONDER_DTYPE"]) == "float32"


def test_env_example_lists_every_variable_with_its_default():
    text = "".join(path.read_text() for path in FILES)
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
    topics = environment(SERVICES["kafka-topics"])
    config = KafkaConfig(bootstrap_servers="kafka:9092")
    assert topics["ITEM_TOPIC"] == f"${{PONDER_KAFKA_ITEM_TOPIC:-{config.item_topic}}}"
    assert topics["EVENT_TOPIC"] == f"${{PONDER_KAFKA_EVENT_TOPIC:-{config.event_topic}}}"
    assert int(SERVICES["kafka"]["environment"]["KAFKA_MESSAGE_MAX_BYTES"]) >= MAX_MESSAGE_BYTES


def test_items_are_compacted_and_events_go_after_a_while():
    topics = environment(SERVICES["kafka-topics"])
    items, events = (
        dict(pair.split("=") for pair in with_defaults(topics[f"{kind}_CONFIG"]).split(","))
        for kind in ("ITEM", "EVENT")
    )
    assert items["cleanup.policy"] == "compact"
    month_ms = 30 * 24 * 3600 * 1000
    assert int(items["delete.retention.ms"]) == int(events["retention.ms"]) == month_ms
    assert events["cleanup.policy"] == "delete"


def test_gpus_go_to_the_services_of_the_profile_gpu_and_to_no_other():
    having = {name for name, each in SERVICES.items() if "reservations" in resources(each)}
    assert having == {name for name, each in SERVICES.items() if each.get("profiles") == ["gpu"]}
    worker = SERVICES["airflow-worker-gpu"]["command"]
    assert worker[worker.index("--queues") + 1] == "gpu"
    assert "CeleryExecutor" in (ROOT / "deploy" / "check_secrets.py").read_text()


def resources(service):
    return service["deploy"]["resources"]


@each_service
def test_a_service_may_take_so_much_and_no_more(name):
    limits = resources(SERVICES[name])["limits"]
    assert float(with_defaults(limits["cpus"])) > 0
    assert re.fullmatch(r"\d+[mg]", with_defaults(limits["memory"]))


NOT_READ_ONLY = {"kafka", "kafka-topics", "milvus"}
"""Their images write beside their volumes."""


@each_service
def test_a_service_can_do_no_more_than_it_must(name):
    service = SERVICES[name]
    assert service["init"] is True
    assert "no-new-privileges:true" in service["security_opt"]
    assert service.get("read_only", False) is (name not in NOT_READ_ONLY)
    assert (service.get("cap_drop") == ["ALL"]) is (name != "milvus")
    assert "privileged" not in service


@each_service
def test_logs_are_turned_over(name):
    assert set(SERVICES[name]["logging"]["options"]) == {"max-size", "max-file"}


def test_every_profile_is_described():
    profiles = {profile for each in SERVICES.values() for profile in each.get("profiles", [])}
    assert profiles == {"demo", "celery", "gpu", "store", "monitoring"}
    for page in (".env.example", "docs/deploy.md"):
        assert all(profile in (ROOT / page).read_text() for profile in profiles)


def test_prometheus_asks_services_that_are_there_at_ports_that_they_have():
    asked = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    targets = {
        target
        for job in asked["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    }
    assert {target.split(":")[0] for target in targets} <= {*SERVICES, "localhost"}
    assert {"recall:8000", "node-exporter:9100", "statsd-exporter:9102"} <= targets


def test_the_init_script_makes_the_pool_of_the_dag():
    assert "airflow pools set gpu " in (ROOT / "deploy" / "airflow-init.sh").read_text()
    assert '"pool": "gpu"' in (ROOT / "dags" / "task_rules.py").read_text()
