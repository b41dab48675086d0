"""The manifests are what Kubernetes takes, and they agree with each other and with the settings."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import kubernetes_validate
import pytest
import typer
import yaml

from ponder.cli.app import app
from ponder.settings import SETTINGS, Settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
KUBERNETES = ("1.31", "1.37")
"""The oldest and the newest release that the manifests are checked against."""

KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
PLAIN = sorted(
    {*FOLDER.rglob("*.yaml")} - {FOLDER / "kustomization.yaml", FOLDER / "airflow-values.yaml"}
)
OBJECTS = [
    pytest.param(each, id=f"{path.relative_to(FOLDER)} {each['kind']}")
    for path in PLAIN
    for each in yaml.safe_load_all(path.read_text())
]
each_object = pytest.mark.parametrize("manifest", OBJECTS)


def objects(kind):
    return [each.values[0] for each in OBJECTS if each.values[0]["kind"] == kind]


def pod_of(manifest):
    """The pod that a manifest makes; None of one that makes none."""
    match manifest["kind"]:
        case "Pod":
            return manifest["spec"]
        case "Deployment":
            return manifest["spec"]["template"]["spec"]
        case "CronJob":
            return manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return None


PODS = [each for each in OBJECTS if pod_of(each.values[0])]
each_pod = pytest.mark.parametrize("manifest", PODS)


@pytest.mark.parametrize("release", KUBERNETES)
@each_object
def test_a_manifest_is_one_of_its_kind(manifest, release):
    kubernetes_validate.validate(manifest, release, strict=True)


def test_a_field_that_there_is_not_would_be_found():
    [deployment] = objects("Deployment")
    wrong = json.loads(json.dumps(deployment))
    wrong["spec"]["template"]["spec"]["containers"][0]["readyProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


def test_everything_is_applied_but_the_example_of_a_secret_and_what_airflow_reads():
    applied = {FOLDER / name for name in KUSTOMIZATION["resources"]}
    [pods] = KUSTOMIZATION["configMapGenerator"]
    templates = {FOLDER / name for name in pods["files"]}
    assert applied | templates | {FOLDER / "secret.example.yaml"} == set(PLAIN)


@each_pod
def test_a_pod_is_restricted_and_bounded(manifest):
    pod = pod_of(manifest)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == int(
        re.search(r"--uid (\d+)", (ROOT / "deploy" / "Dockerfile").read_text())[1]
    )
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


@each_pod
def test_a_pod_s_names_lead_somewhere(manifest):
    pod = pod_of(manifest)
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    named = {"ConfigMap": {"ponder"}, "Secret": {"ponder"}}
    for kind, names in named.items():
        assert names <= {each["metadata"]["name"] for each in objects(kind)}
    for container in pod["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        for source in container["envFrom"]:
            [name] = [each["name"] for each in source.values()]
            assert name == "ponder"
    if account := pod.get("serviceAccountName"):
        assert account in {each["metadata"]["name"] for each in objects("ServiceAccount")}


@each_pod
def test_a_pod_runs_our_image_and_a_command_that_there_is(manifest):
    [image] = KUSTOMIZATION["images"]
    for container in pod_of(manifest)["containers"]:
        assert container["image"] in (image["name"], f"{image['newName']}:{image['newTag']}")
        if manifest["kind"] == "Pod":  # a template: Airflow gives the command
            assert container["name"] == "base"
            assert "args" not in container
            continue
        program, name, *rest = container["args"]
        assert program == "ponder"
        typer.main.get_command(app).commands[name].make_context(name, rest)


def test_selectors_find_the_service_s_pods_and_probes_its_port():
    [deployment] = objects("Deployment")
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    [service], [budget], [policy] = map(
        objects, ("Service", "PodDisruptionBudget", "NetworkPolicy")
    )
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
        policy["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    [container] = template["spec"]["containers"]
    [port] = container["ports"]
    assert str(port["containerPort"]) == container["args"][-1]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"  # Milvus away: no restart
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    [scaler] = objects("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert budget["spec"]["minAvailable"] < scaler["spec"]["minReplicas"]


def test_settings_are_settings_and_secrets_are_no_config():
    [config], [secret] = objects("ConfigMap"), objects("Secret")
    settings = {f"PONDER_{name.upper()}" for name in SETTINGS}
    given = {name for name in config["data"] if name.startswith("PONDER_")}
    assert given <= settings
    assert set(secret["stringData"]) <= settings
    assert not given & set(secret["stringData"])
    told = {name.removeprefix("PONDER_").lower(): config["data"][name] for name in given}
    told |= {
        name.removeprefix("PONDER_").lower(): json.loads(text) if text.startswith("{") else text
        for name, text in secret["stringData"].items()
    }
    assert Settings(**told).log_format == "json"


def test_only_the_gpu_template_asks_for_a_gpu():
    cpu, gpu = (yaml.safe_load((FOLDER / "pods" / f"{k}.yaml").read_text()) for k in ("cpu", "gpu"))
    [container] = gpu["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "PONDER_DEVICE", "value": "cuda"} in container["env"]
    # `auto` would make the vectors of a GPU those of another version than a CPU asks for.
    config = yaml.safe_load((FOLDER / "config.yaml").read_text())
    assert config["data"]["PONDER_DTYPE"] == "float32"
    assert "nvidia.com/gpu" not in json.dumps(cpu)


def test_a_task_s_pod_is_told_by_the_chart_s_configuration_where_to_report():
    values = yaml.safe_load((FOLDER / "airflow-values.yaml").read_text())
    assert values["config"]["core"]["execution_api_server_url"].startswith("http://airflow-api-")
    for pod in objects("Pod"):
        [volume] = [each for each in pod["spec"]["volumes"] if "configMap" in each]
        assert volume["configMap"]["name"] == "airflow-config"
        [container] = pod["spec"]["containers"]
        [mount] = [each for each in container["volumeMounts"] if each["name"] == volume["name"]]
        assert mount["mountPath"] == f"{values['airflowHome']}/airflow.cfg"
        assert mount["subPath"] == "airflow.cfg"


def test_nothing_wants_the_logins_of_a_package_that_the_image_lacks():
    values = yaml.safe_load((FOLDER / "airflow-values.yaml").read_text())
    assert values["createUserJob"] == {"enabled": False}  # `airflow users` is that package's
    module, _, name = values["config"]["core"]["auth_manager"].rpartition(".")
    # Found and not imported: Airflow makes its home when it is.
    airflow = find_spec("airflow")
    if airflow is None:
        pytest.skip("Airflow is not installed")
    [package] = airflow.submodule_search_locations
    file = Path(package, *module.split(".")[1:]).with_suffix(".py")
    assert f"class {name}(" in file.read_text()


def test_airflow_finds_the_templates_where_its_values_mount_them():
    values = yaml.safe_load((FOLDER / "airflow-values.yaml").read_text())
    [volume], [mount] = (values["scheduler"][f"extraVolume{name}"] for name in ("s", "Mounts"))
    [pods] = KUSTOMIZATION["configMapGenerator"]
    assert volume["configMap"]["name"] == pods["name"]
    assert volume["name"] == mount["name"]
    there = {f"{mount['mountPath']}/{Path(file).name}" for file in pods["files"]}
    gpu = json.loads(values["env"][0]["value"])["pod_template_file"]
    assert {values["config"]["kubernetes_executor"]["pod_template_file"], gpu} == there
    assert values["executor"] == "KubernetesExecutor"
    for part in ("scheduler", "dagProcessor", "apiServer", "triggerer"):
        assert set(values[part]["resources"]) == {"requests", "limits"}
