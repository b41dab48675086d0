"""Tests for self_judge.py: odds by hand from the embedder's own vectors."""

import numpy as np
import pytest

from embedder.content import Content
from embedder.finetune.rationales.judges.judge import JudgeInput
from embedder.finetune.rationales.judges.self_judge import SelfJudge, SelfJudgeConfig
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.reasoners.given_rationales import encode_with_rationales
from embedder.reasoners.reasoner import Rationale

QUERY, TARGET = Content("red mugs"), Content("3 red mugs")
OTHERS = (Content("a kite"), Content("2 hats"))
RATIONALE = Rationale("a reason", "three mugs")
CONFIG = SelfJudgeConfig(temperature=0.1)


@pytest.fixture(scope="module")
def vectors(checkpoint):
    """Direct vectors of one side, one content at a time."""
    encoder = MMEmbR1(checkpoint, EmbedderConfig(policy="never"))

    def encode(side, *contents):
        one = encoder.encode_query if side == "query" else encoder.encode_items
        return np.stack([one([content])[0].vector for content in contents]).astype(float)

    return encode


def odds(about, partners):
    scores = partners @ about / CONFIG.temperature
    return scores[0] - np.log(np.exp(scores[1:]).sum())


def test_without_a_rationale_the_query_is_read_directly(checkpoint, vectors):
    (z,) = SelfJudge(checkpoint, CONFIG).log_odds(
        [JudgeInput(QUERY, TARGET, "query", None, OTHERS)]
    )
    expected = odds(vectors("query", QUERY)[0], vectors("item", TARGET, *OTHERS))
    assert z == pytest.approx(expected, abs=2e-5 / CONFIG.temperature)


def test_a_rationale_changes_the_side_that_it_is_about(checkpoint, vectors):
    judge = SelfJudge(checkpoint, CONFIG)
    about_query, about_item = judge.log_odds(
        [JudgeInput(QUERY, TARGET, side, RATIONALE, OTHERS) for side in ("query", "item")]
    )
    (query,) = encode_with_rationales(checkpoint, [QUERY], [RATIONALE], side="query").astype(float)
    (item,) = encode_with_rationales(checkpoint, [TARGET], [RATIONALE], side="item").astype(float)
    tolerance = 2e-5 / CONFIG.temperature
    expected = odds(query, vectors("item", TARGET, *OTHERS))
    assert about_query == pytest.approx(expected, abs=tolerance)
    expected = odds(item, vectors("query", QUERY, *OTHERS))
    assert about_item == pytest.approx(expected, abs=tolerance)


def test_odds_depend_neither_on_the_other_cases_nor_on_their_order(checkpoint, image):
    judge_inputs = [
        JudgeInput(QUERY, TARGET, "query", None, OTHERS),
        JudgeInput(QUERY, TARGET, "query", RATIONALE, OTHERS),
        JudgeInput(QUERY, Content("a kite", image), "item", RATIONALE, OTHERS),
        JudgeInput(QUERY, Content("a kite", image), "item", None, OTHERS),
        JudgeInput(Content("what grass is " * 9), TARGET, "query", Rationale("green " * 9), OTHERS),
    ]
    together = SelfJudge(checkpoint, CONFIG).log_odds(judge_inputs)
    alone = [
        SelfJudge(checkpoint, CONFIG).log_odds([judge_input])[0] for judge_input in judge_inputs
    ]
    backwards = SelfJudge(checkpoint, CONFIG).log_odds(judge_inputs[::-1])[::-1]
    np.testing.assert_allclose(together, alone, atol=2e-5 / CONFIG.temperature)
    np.testing.assert_allclose(together, backwards, atol=2e-5 / CONFIG.temperature)


def test_a_case_without_others_has_nothing_to_compare_with(checkpoint):
    with pytest.raises(ValueError, match="got none in 1 of 2 inputs"):
        SelfJudge(checkpoint, CONFIG).log_odds(
            [JudgeInput(QUERY, TARGET, "query", None, OTHERS), JudgeInput(QUERY, TARGET, "query")]
        )


def test_the_name_tells_the_version_and_the_temperature(checkpoint):
    other = SelfJudge(checkpoint, SelfJudgeConfig(temperature=0.2))
    assert SelfJudge(checkpoint, CONFIG).name != other.name


@pytest.mark.parametrize("options", [{"temperature": 0}, {"batch_size": 0}])
def test_a_configuration_that_cannot_work_is_refused(options):
    with pytest.raises(ValueError, match="must be"):
        SelfJudgeConfig(**options)
