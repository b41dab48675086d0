"""Tests for ponder/cli/embedder.py: the account of the model that ships, and its export."""

import json
import re

import pytest
from typer.testing import CliRunner

from embedder.content import Content
from ponder.cli.app import app
from ponder.reports.reasoning.query_set import read_query_set
from ponder.settings import Settings
from ponder.wiring.encoder import configured_version, open_encoder

runner = CliRunner()

CLIP_PATH = re.compile(r"\bp[0-9a-f]{10}\b")


@pytest.mark.parametrize("command", ["report", "export", "unpack"])
def test_every_command_explains_itself(command):
    result = runner.invoke(app, ["embedder", command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_the_report_is_written_shown_and_leaves_what_the_gate_said(tmp_path, bazaar):
    home, out = tmp_path / "home", tmp_path / "out"
    arguments = [
        "--home",
        str(home),
        "embedder",
        "report",
        "--data",
        str(bazaar),
        "--out",
        str(out),
    ]
    result = runner.invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads((out / "reasoning.json").read_text())
    assert report == json.loads(result.stdout)
    drawn = (out / "reasoning.svg").read_text()
    assert drawn.startswith("<?xml")
    assert [path.name for path in home.iterdir()] == ["gates"]
    assert set(report["policies"]) == {"never", "always", "auto"}
    assert report["reasoner"] == report["model_version"]
    assert report["num_queries"] == 12
    # The vectors were read anew with their own rationales: the same ones came out, to 1e-5, so a
    # near tie of the twelve queries may fall the other way.
    always = report["pairings"]["reason x direct"]
    assert report["sensitivity"]["query"]["metrics"]["right"] == pytest.approx(always, abs=0.03)
    shown = runner.invoke(app, arguments)
    # Times are in the JSON alone. Names of clip paths hash the last digits of a layout.
    again = (out / "reasoning.svg").read_text()
    assert CLIP_PATH.sub("", again) == CLIP_PATH.sub("", drawn)
    assert report["findings"][0][:40] in " ".join(shown.stdout.split())
    told = runner.invoke(app, ["--home", str(home), "embedder", "theta", "50%", "--json"])
    half = next(point for point in report["budgets"]["query"] if point["share"] == 0.5)
    assert json.loads(told.stdout)["theta"] == half["theta"]
    asked = [
        json.loads(line)["text"] for line in (bazaar / "queries.jsonl").read_text().splitlines()
    ]
    settings = Settings(home=home, query_budget="50%")
    encodings = open_encoder(settings).encode_query([Content(text) for text in asked])
    gates = [one.gate_probability for one in encodings]
    assert [one.action == "reason" for one in encodings] == [p >= half["theta"] for p in gates]
    assert 0 < sum(one.action == "reason" for one in encodings) <= 6  # of twelve
    assert configured_version(settings) == configured_version(Settings(home=home))
    assert configured_version(settings.replace(item_budget="50%")) != configured_version(settings)


def test_a_budget_without_a_measurement_says_how_to_measure(tmp_path):
    settings = Settings(home=tmp_path, query_budget="5ms")
    with pytest.raises(LookupError, match="run ponder embedder report --data DATA"):
        open_encoder(settings)
    with pytest.raises(ValueError, match="a share like 30% or a time like 5ms"):
        Settings(home=tmp_path, item_budget="half")


def test_a_folder_without_queries_is_one_line_and_exit_code_1(tmp_path):
    (tmp_path / "items.jsonl").write_text("")
    arguments = ["embedder", "report", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    result = runner.invoke(app, ["--home", str(tmp_path), *arguments])
    assert result.exit_code == 1
    assert "queries.jsonl" in result.stderr
    assert not (tmp_path / "out").exists()


def test_items_that_the_embedder_refuses_are_not_in_the_query_set(tmp_path, bazaar):
    settings = Settings(home=tmp_path)
    whole = read_query_set(settings, bazaar, refusal=lambda content: None)
    texts = read_query_set(
        settings, bazaar, refusal=lambda content: "an image" if content.image else None
    )
    assert len(whole.contents) > len(texts.contents) > 0
    assert all(content.image is None for content in texts.contents.values())
    with pytest.raises(ValueError, match="must hold a query with a right item"):
        read_query_set(settings, bazaar, refusal=lambda content: "no")


def test_export_writes_a_folder_that_names_its_modules(tmp_path):
    pytest.importorskip("sentence_transformers", reason="the extra is missing")
    result = runner.invoke(app, ["embedder", "export", "--to", str(tmp_path / "nano"), "--json"])
    assert result.exit_code == 0
    assert json.loads((tmp_path / "nano" / "modules.json").read_text())[0]["path"] == ""
    again = runner.invoke(app, ["embedder", "export", "--to", str(tmp_path / "nano")])
    assert again.exit_code == 1
    assert "must be empty" in " ".join(again.stderr.split())
