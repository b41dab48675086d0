"""Tests for silent_steps.py against forwards of transformers over the whole sequence, anew a step.

The tolerance is 1e-5 of the states' length: the cache changes the order of float32 sums.
"""

import pytest
import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.prompting.answers import silent_answer
from embedder.version import SilentMode

WAYS = ("tokens", "states")
NUM_LATENTS = 3


@pytest.fixture(scope="module", params=WAYS)
def silent(request, with_silent):
    return with_silent(SilentMode(num_latents=NUM_LATENTS, way=request.param))


def plain_states(checkpoint, sample):
    """The states of the answer's steps: every step embeds all that went before it again."""
    inputs, backbone, mode = checkpoint.inputs, checkpoint.backbone, checkpoint.manifest.silent
    model = backbone.model.model.language_model
    answer = silent_answer(inputs, num_tokens=mode.num_tokens)
    embed = model.embed_tokens
    embeddings = embed(torch.tensor([sample.tokens]))

    def states(steps):
        whole = torch.cat([embeddings, *steps], dim=1)
        return model(inputs_embeds=whole).last_hidden_state[:, len(sample) :]

    if mode.way == "tokens":
        return states([embed(torch.tensor([answer]))])[0]
    steps = [embed(torch.tensor([answer[:1]]))]
    length = steps[0].norm()
    for _ in range(NUM_LATENTS):
        steps.append(F.normalize(states(steps)[:, -1:], dim=-1) * length)
    return states([*steps, embed(torch.tensor([answer[1:]]))])[0]


def steps_of(checkpoint, samples):
    backbone, inputs = checkpoint.backbone, checkpoint.inputs
    prompts = inputs.prompts(samples, device=backbone.device)
    past = backbone.text.empty_past(prompts)
    ends = torch.tensor(prompts.lengths)
    backbone.prefill(prompts, ends[:, None] - 1, past_Y2BKLD=past)
    answer = silent_answer(inputs, num_tokens=checkpoint.manifest.silent.num_tokens)
    return backbone.silent_states(answer, past, ends, ends)


def test_steps_are_those_of_the_whole_sequence_read_anew(silent):
    """Prompts of unlike lengths in one batch, so that padding would show."""
    texts = ("kites", "as many hats as a bicycle has wheels", "3 red mugs")
    samples = [silent.inputs.sample(Content(text), "find the item") for text in texts]
    with torch.no_grad():
        found_BCH = steps_of(silent, samples)
        expected = [plain_states(silent, sample) for sample in samples]
    assert found_BCH.shape[1] == NUM_LATENTS + 2
    for found_CH, expected_CH in zip(found_BCH, expected, strict=True):
        assert (found_CH - expected_CH).norm() / expected_CH.norm() < 1e-5


def test_gradients_are_those_of_the_whole_sequence_read_anew(silent, fresh_backbone):
    checkpoint = fresh_backbone(silent)
    sample = checkpoint.inputs.sample(Content("3 red mugs"), "find the item")
    network = checkpoint.backbone.model.requires_grad_(True)

    def gradients(states_CH):
        network.zero_grad()
        (states_CH[-1] @ torch.linspace(-1, 1, states_CH.shape[1])).backward()
        layer = network.model.language_model.layers[0]
        return [
            weight.grad.clone()
            for weight in (layer.self_attn.v_proj.weight, network.get_input_embeddings().weight)
        ]

    found = gradients(steps_of(checkpoint, [sample])[0])
    for one, other in zip(found, gradients(plain_states(checkpoint, sample)), strict=True):
        assert (one - other).norm() / other.norm() < 1e-4  # sums of many float32
