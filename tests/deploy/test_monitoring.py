"""Alerts and dashboard ask for numbers that are told, and each alert says what to do."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml

from tests.metric_names import names

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
RUNBOOKS = ROOT / "docs" / "runbooks"
OTHERS = {"up", "node_textfile_mtime_seconds"}
"""Told by Prometheus itself and by node exporter."""

HEADINGS = ("## What it means", "## Look at", "## Do")

each_rule = pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])


def asked(expression):
    """The metrics that a query names."""
    found, left = set(), [promql_parser.parse(expression)]
    while left:
        part = left.pop()
        if isinstance(part, promql_parser.VectorSelector):
            found.add(part.name)
        names = ("lhs", "rhs", "expr", "vector_selector")
        left += [getattr(part, name) for name in names if hasattr(part, name)]
        left += getattr(part, "args", [])
    return found


def test_a_query_s_metrics_are_found():
    """Or the tests below would find nothing wrong with anything."""
    expression = (
        'sum by (a_label) (rate(b_total{c_d="x"}[5m])) > (0.1 * e) or max_over_time(f[1d:])'
    )
    assert asked(expression) == {"b_total", "e", "f"}
    with pytest.raises(ValueError, match=r"parse error|unclosed|unexpected"):
        asked("sum by (")


@each_rule
def test_an_alert_asks_for_what_is_told(rule):
    found = asked(rule["expr"])
    assert found
    assert found <= names() | OTHERS


@each_rule
def test_an_alert_says_how_grave_it_is_and_where_to_read_on(rule):
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    path = ROOT / rule["annotations"]["runbook"]
    assert path == RUNBOOKS / f"{rule['alert']}.md"
    text = path.read_text()
    assert text.startswith(f"# {rule['alert']}\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == list(HEADINGS)


def test_every_runbook_is_of_an_alert():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"index"} == {
        rule["alert"] for rule in RULES
    }


def test_every_alert_is_tried():
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tests
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in RULES}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
def test_alerts_fire_when_they_should_and_not_before():
    done = subprocess.run(
        ["promtool", "test", "rules", PROMETHEUS / "rules_test.yml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def airflow_names():
    """What Airflow tells statsd, as the exporter calls it: the prefix, and pools as a label."""
    [folder] = importlib.util.find_spec("airflow").submodule_search_locations
    template = Path(folder) / "_shared/observability/metrics/metrics_template.yaml"
    told = yaml.safe_load(template.read_text())["metrics"]
    return {f"airflow_{each['name'].replace('.', '_')}" for each in told}


def panels():
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "ponder.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_is_told_of_the_source_that_is_there(panel):
    [source] = yaml.safe_load((ROOT / "deploy" / "grafana" / "datasources.yml").read_text())[
        "datasources"
    ]
    assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
    assert panel["targets"]
    for target in panel["targets"]:
        found = asked(target["expr"])
        assert found <= names() | OTHERS | airflow_names()
