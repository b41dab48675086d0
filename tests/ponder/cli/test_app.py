"""Tests for ponder/cli/app.py: exit codes, JSON, and that every command explains itself."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from ponder.cli.app import app

runner = CliRunner()
COMMANDS = [
    [*prefix, command.name or command.callback.__name__]
    for prefix, part in [
        ([], app),
        *(([group.name], group.typer_instance) for group in app.registered_groups),
    ]
    for command in part.registered_commands
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command):
    result = runner.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_json_is_one_object_on_standard_output(tmp_path):
    options = ["--items", "20", "--users", "3", "--weeks", "1", "--queries", "3", "--json"]
    result = runner.invoke(app, ["bazaar", str(tmp_path), *options])
    assert result.exit_code == 0
    counts = json.loads(result.stdout)
    assert (counts["truth"], counts["queries"]) == (20, 3)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["land", "--data", "nowhere"], "the source must be a folder"),
        (["land"], "set PONDER_KAFKA"),
        (["recall", "mugs"], "no model version is live"),
        (["rollback"], "a rollback needs"),
        (["drop", "v9"], "version 'v9' must have a collection"),
        (["recommend", "u17"], "no model version is live"),
        (["backfill", "--from", "0"], "set PONDER_KAFKA"),
        (["backfill", "--from", "5", "--to", "2"], "start must lie before end"),
        (["dead-letters", "show", "items", "0", "7"], "there is no dead letter of 'items'"),
        (["dead-letters", "list", "--since", "soon"], "a time must look like 2026-01-31"),
        (["lake", "vacuum", "--days", "6"], "at least 168 hours must be kept, got 144"),
        (["lake", "history", "itmes"], "must be one of items, item_versions"),
        (["--model", "./nowhere", "plan"], "does not exist"),
        (["ranker", "train"], "export first"),
        (["ranker", "promote", "x"], "has no version 'x'; registered: none"),
        (["ranker", "interleaving", "nowhere.txt"], "must end in .jsonl, .csv, .parquet"),
        (["ranker", "experiment"], "land events first"),
        (["ranker", "experiment", "--scores", "x=y"], "exports and scores are of pages"),
        (["ranker", "interleave", "nowhere.txt", "--out", "x"], "must end in .jsonl, .csv"),
    ],
)
def test_a_failure_that_a_user_can_mend_is_one_line_and_exit_code_1(tmp_path, arguments, reason):
    result = runner.invoke(app, ["--home", str(tmp_path), *arguments])
    assert result.exit_code == 1
    assert reason in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_wrong_usage_is_exit_code_2(tmp_path):
    assert runner.invoke(app, ["--home", str(tmp_path), "recall", "--top-k", "0"]).exit_code == 2
    assert runner.invoke(app, ["fly"]).exit_code == 2


def test_a_setting_that_cannot_be_read_is_exit_code_1(monkeypatch):
    monkeypatch.setenv("PONDER_SHARD_SIZE", "many")
    result = runner.invoke(app, ["plan"])
    assert result.exit_code == 1
    assert "PONDER_SHARD_SIZE" in result.stderr


def test_run_goes_from_a_folder_to_a_report_and_a_second_run_embeds_nothing(tmp_path, bazaar):
    arguments = ["--home", str(tmp_path), "run", "--data", str(bazaar), "--json"]
    first = json.loads(runner.invoke(app, arguments).stdout)
    assert first["embed"]["embedded"] > 0
    assert (tmp_path / "reports" / "report.html").exists()
    second = json.loads(runner.invoke(app, arguments).stdout)
    assert set(second["embed"].values()) == {0}
    assert second["rank"] == first["rank"]


def test_run_without_anything_to_rank_goes_live_and_says_so(tmp_path, bazaar):
    shutil.copytree(bazaar, tmp_path / "data")
    (tmp_path / "data" / "events.jsonl").unlink()
    arguments = ["--home", str(tmp_path / "home"), "run", "--data", str(tmp_path / "data")]
    result = runner.invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0
    done = json.loads(result.stdout)
    assert "no requests to learn from" in done["rank"]["nothing to rank"]
    assert "promote" in done
    assert (tmp_path / "home" / "reports" / "report.html").exists()
