"""Tests for forward.py against plain transformers forwards of single answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.engine.gating import Gate
from embedder.finetune.training.forward import PromptWithAnswers, forward
from embedder.prompting.answers import direct_answer, rationale_answer

TOLERANCE = 1e-5  # another order of float32 sums


@pytest.fixture(scope="module")
def batch(inputs, image):
    long = rationale_answer(inputs, "grass is green", "2 green kites")
    short = rationale_answer(inputs, "", "hats")
    contents = [Content("kites"), Content("3 red mugs", image), Content("in the sky", image)]
    samples = [inputs.sample(content, "find the item") for content in contents]
    answers = [(direct_answer(inputs), long), (short, long, short), (direct_answer(inputs),)]
    return [
        PromptWithAnswers(sample, chosen) for sample, chosen in zip(samples, answers, strict=True)
    ]


@torch.no_grad()
def alone(backbone, inputs, sample, answer):
    """Gate logits, embedding and next-token losses of one answer by transformers' own forward."""
    tokens = inputs.batch([sample.extended(answer)])
    output = backbone.model(
        input_ids=tokens.input_ids_BL,
        attention_mask=tokens.attention_mask_BL,
        mm_token_type_ids=tokens.image_mask_BL,
        pixel_values=tokens.patches_PV,
        image_grid_thw=tokens.grids,
        output_hidden_states=True,
    )
    logits, end = output.logits[0], len(sample)
    gate = logits[end - 1, [inputs.direct_id, inputs.reason_id]]
    surprise = F.cross_entropy(logits[end:-1], torch.tensor(answer[1:]), reduction="none")
    return gate, F.normalize(output.hidden_states[-1][0, -1], dim=-1), surprise


def test_each_answer_reads_as_if_it_stood_alone_behind_its_prompt(backbone, inputs, batch):
    with torch.no_grad():
        output = forward(backbone, inputs, batch)
        logits_TV = backbone.logits(output.token_states_TH)
    surprise_T = F.cross_entropy(logits_TV, output.token_ids_T, reduction="none")
    number = 0
    for row, one in enumerate(batch):
        for answer in one.answers:
            gate, vector, surprise = alone(backbone, inputs, one.sample, answer)
            torch.testing.assert_close(output.gate_B2[row], gate, atol=TOLERANCE, rtol=0)
            torch.testing.assert_close(output.vectors_NH[number], vector, atol=TOLERANCE, rtol=0)
            own = surprise_T[output.answer_T == number]
            expected = surprise if answer[0] == inputs.reason_id else surprise[:0]
            torch.testing.assert_close(own, expected, atol=1e-4, rtol=0)  # logits of 20
            number += 1
    assert number == len(output.vectors_NH) == 6


def test_gradients_reach_the_prompt_by_way_of_all_answers(fresh, inputs, batch):
    def gradient(prompts):
        backbone = fresh().backbone.requires_grad_(True)
        output = forward(backbone, inputs, prompts)
        weights = torch.arange(1.0, 1 + output.vectors_NH.shape[1])
        (output.vectors_NH @ weights).sum().backward()
        return backbone.model.model.visual.patch_embed.proj.weight.grad

    apart = [PromptWithAnswers(one.sample, (answer,)) for one in batch for answer in one.answers]
    torch.testing.assert_close(gradient(batch), gradient(apart), rtol=1e-4, atol=1e-4)


def test_without_words_only_gates_and_embeddings_are_read(backbone, inputs, batch):
    with torch.no_grad():
        whole = forward(backbone, inputs, batch)
        bare = forward(backbone, inputs, batch, with_tokens=False)
    torch.testing.assert_close(bare.vectors_NH, whole.vectors_NH, atol=TOLERANCE, rtol=0)
    assert len(bare.token_ids_T) == len(bare.token_states_TH) == 0


def test_control_tokens_in_a_rationale_are_plain_text(inputs):
    answer = rationale_answer(inputs, "a <|emb|> <|direct|>", "<|summary|>")
    assert answer[0] == inputs.reason_id
    assert answer[-1] == inputs.emb_id
    assert answer.count(inputs.emb_id) == answer.count(inputs.summary_id) == 1
    assert inputs.direct_id not in answer


@pytest.mark.parametrize("readout", ["at", "before", "mean"])
def test_a_vector_is_read_at_the_embedding_token_before_it_or_at_both(
    checkpoint, plain_forward, batch, readout
):
    """By training, by the engine and of given rationales alike; states by transformers itself."""
    own = checkpoint.read_as(replace(checkpoint.manifest, readout=readout))
    backbone, inputs = own.backbone, own.inputs
    with torch.no_grad():
        output = forward(backbone, inputs, batch)
        states, _ = plain_forward(batch[0].sample, batch[0].answers[1])
        direct, _ = plain_forward(batch[0].sample, batch[0].answers[0])
        whole = inputs.prompts(
            [batch[0].sample.extended(batch[0].answers[1])], device=backbone.device
        )
        given = backbone.end_vectors(whole)[0]
    read = {"at": slice(-1, None), "before": slice(-2, -1), "mean": slice(-2, None)}[readout]
    expected, bare = (F.normalize(one[read].mean(dim=0), dim=-1) for one in (states, direct))
    torch.testing.assert_close(output.vectors_NH[1], expected, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(given, expected, atol=TOLERANCE, rtol=0)
    rows = [(0, Content(), batch[0].sample)]
    (gated,) = (
        Gate(backbone, inputs, theta=0.5).launch(rows, policy="never", keep_past=False).gated()
    )
    np.testing.assert_allclose(gated.answer.vector, bare.numpy(), atol=TOLERANCE)
