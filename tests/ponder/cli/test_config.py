"""Tests for ponder/cli/config.py: settings are shown without secrets, and checked all at once."""

import json

import pytest
from typer.testing import CliRunner

from ponder.cli.app import app
from ponder.setting_values import MASK
from ponder.settings import SETTINGS

runner = CliRunner()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    tables = '[lake_options]\nAWS_REGION = "eu"\n[promotion]\nmax_loss = 0.5'
    path.write_text(f'model = "mine"\n{tables}')
    return path


def test_every_setting_is_shown_with_its_value_and_its_origin(file, monkeypatch):
    monkeypatch.setenv("PONDER_MILVUS_TOKEN", "hush")
    arguments = ["--config", str(file), "--home", "here", "config", "show"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in result.stdout.splitlines()}
    assert tuple(rows) == SETTINGS
    assert rows["home"] == ["--home", "here"]
    assert rows["model"] == [str(file), "mine"]
    assert rows["lake_options"] == [str(file), f"AWS_REGION {MASK}"]
    assert rows["milvus_token"] == ["PONDER_MILVUS_TOKEN", MASK]
    assert rows["device"] == ["default", "cpu"]
    assert "hush" not in result.output
    shown = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)
    assert shown["model"] == {"value": "mine", "from": str(file)}
    assert shown["lake_options"]["value"] == {"AWS_REGION": MASK}
    assert shown["promotion"]["value"]["max_loss"] == 0.5


def test_a_check_of_what_is_right_says_nothing(file):
    result = runner.invoke(app, ["--config", str(file), "config", "check"])
    assert (result.exit_code, result.output) == (0, "")
    result = runner.invoke(app, ["--config", str(file), "config", "check", "--json"])
    assert json.loads(result.stdout) == {"problems": []}


def test_a_check_has_a_line_for_each_problem_and_exit_code_1(file, monkeypatch):
    monkeypatch.setenv("PONDER_MODLE", "nano")
    monkeypatch.setenv("PONDER_SHARD_SIZE", "many")
    arguments = ["--config", str(file), "config", "check"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "PONDER_MODLE",
        "PONDER_SHARD_SIZE:",
    ]
    told = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)["problems"]
    assert told == result.stdout.splitlines()
    shown = runner.invoke(app, ["--config", str(file), "config", "show"])
    assert shown.exit_code == 1
    assert "PONDER_MODLE" in shown.stderr
    assert runner.invoke(app, ["--config", str(file), "plan"]).exit_code == 1
