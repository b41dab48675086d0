"""Tests for cached_forward.py: what is read in groups is what is read at once."""

import pytest
import torch

from embedder.content import Content
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.forward import PromptWithAnswers, forward
from embedder.finetune.training.image_features import ImageFeatureCache
from embedder.prompting.answers import direct_answer, rationale_answer


@pytest.fixture(scope="module")
def batch(inputs, image):
    """Long and short by turns, so that groups of one length take prompts from everywhere."""
    long = rationale_answer(inputs, "grass is green", "2 green kites")
    short = rationale_answer(inputs, "", "hats")
    contents = [
        Content("three red mugs in the colour of a brick"),
        Content("kites"),
        Content("in the sky", image),
        Content("hats"),
        Content("a label", image),
    ]
    samples = [inputs.sample(content, "find the item") for content in contents]
    answers = [(short, long), (direct_answer(inputs),), (long,), (long, short, long), (short,)]
    return [
        PromptWithAnswers(sample, chosen) for sample, chosen in zip(samples, answers, strict=True)
    ]


@pytest.mark.parametrize("group_size", [1, 2, 3, 5])
@torch.no_grad()
def test_groups_of_one_length_read_what_one_batch_reads(backbone, inputs, batch, group_size):
    whole = forward(backbone, inputs, batch)
    features = ImageFeatureCache(backbone, inputs)
    model = CachedForward(backbone, inputs, image_features=features, group_size=group_size)
    grouped = model.forward(batch)
    assert grouped.token_ids_T.tolist() == whole.token_ids_T.tolist()
    assert grouped.answer_T.tolist() == whole.answer_T.tolist()
    for name in ("gate_B2", "vectors_NH", "token_states_TH"):
        torch.testing.assert_close(
            getattr(grouped, name), getattr(whole, name), atol=1e-4, rtol=0, msg=name
        )


@torch.no_grad()
def test_a_batch_without_tokens_is_read_in_groups_too(backbone, inputs, batch):
    whole = forward(backbone, inputs, batch, with_tokens=False)
    grouped = CachedForward(backbone, inputs, group_size=2).forward(batch, with_tokens=False)
    torch.testing.assert_close(grouped.vectors_NH, whole.vectors_NH, atol=1e-5, rtol=0)
    assert not len(grouped.token_ids_T)
