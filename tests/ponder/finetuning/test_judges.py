"""Tests for ponder/finetuning/judges.py: a recipe's judge is the one that judges."""

from types import SimpleNamespace

import pytest

from embedder.model.checkpoint import load
from ponder.finetuning.judges import open_judge
from ponder.finetuning.recipes import configured
from ponder.finetuning.run import Run
from ponder.settings import Settings

ENDPOINT = {"reasoner": "openai:small", "reasoner_url": "http://localhost:9/v1"}


def run_of(judge, **settings):
    """A run as far as a judge needs it."""
    config = configured({"judging.judge": judge, "judging.temperature": 0.1})
    return SimpleNamespace(config=config, settings=Settings(**settings), base="nano", load=load)


def test_the_base_judges_as_it_reads_the_source():
    assert open_judge(run_of("self"))("consecutive").name.startswith("self:nano-")
    assert open_judge(run_of("self"))("").name.endswith("/T0.1")


def test_a_model_whose_vocabulary_lacks_the_words_cannot_judge():
    with pytest.raises(ValueError, match="the answer 'yes' must be one token of 'nano'"):
        open_judge(run_of("yes_no:nano"))


@pytest.mark.parametrize(("judge", "model"), [("endpoint", "small"), ("endpoint:large", "large")])
def test_the_deployments_endpoint_judges_with_its_model_or_another(judge, model):
    judge_of = open_judge(run_of(judge, **ENDPOINT))
    assert judge_of("consecutive") is judge_of("")
    assert model in judge_of("").name


def test_a_deployment_without_an_endpoint_has_none_to_judge():
    with pytest.raises(ValueError, match="set PONDER_REASONER to openai:MODEL"):
        open_judge(run_of("endpoint"))


def test_a_run_is_not_started_with_a_judge_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="judge 'endpoint' needs an endpoint"):
        Run.start(
            Settings(home=tmp_path),
            tmp_path / "run",
            base="nano",
            changes={"judging.judge": "endpoint"},
        )
    assert not (tmp_path / "run").exists()
