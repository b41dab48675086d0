"""Tests for `ponder evaluate --mteb`: what it refuses, and the table that it shows."""

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from evaluation.mteb.costs import Cost, SideCost
from evaluation.mteb.evaluation import MtebEvaluation, TaskEvaluation, TaskScore
from ponder.cli.app import app
from ponder.cli.evaluate import mteb_table

runner = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--mteb", "SciFact", "--queries", "queries.jsonl"], "give one of them"),
        (["--mteb", "SciFact", "--policy", "sometimes"], "never, auto or always"),
        (["--policy", "auto"], "goes with --mteb"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, arguments, says):
    result = runner.invoke(app, ["--home", str(tmp_path), "evaluate", *arguments])
    assert result.exit_code == 2
    assert says in " ".join(result.output.replace("│", " ").split())


def score(main_score, *, reasoned):
    cost = Cost(
        query=SideCost(num_contents=10, num_reasoned=reasoned, seconds=1.25),
        item=SideCost(num_contents=200, num_failed=3, seconds=2.0),
    )
    return TaskScore(main_score=main_score, parts={}, cost=cost, path=Path("task.json"))


def test_the_table_has_every_policy_with_its_cost_and_what_failed():
    tasks = [
        TaskEvaluation(
            task="SciFact",
            metric="ndcg_at_10",
            policies={"never": score(0.5, reasoned=0), "always": score(0.75, reasoned=10)},
        ),
        TaskEvaluation(task="NFCorpus", metric="ndcg_at_10", policies={}, error="no network"),
    ]
    console = Console(width=120)
    with console.capture() as captured:
        console.print(mteb_table(MtebEvaluation(model_version="nano-1", tasks=tasks, means={})))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in captured.get().split("\n")]
    assert ["SciFact", "never", "0.500", "10: 1.2 s", "200: 3 failed, 2.0 s"] in rows
    reasoned = "10: 100.0\N{NO-BREAK SPACE}% reasoned, 1.2 s"
    assert ["", "always", "0.750", reasoned, "200: 3 failed, 2.0 s"] in rows
    assert ["NFCorpus", "", "no network", "", ""] in rows
