"""Tests for embedder/thinking.py: the one-pass path against plain transformers forwards.

The tolerance is 1e-5: padding and the cache change the order of float32 sums, nothing else.
"""

import numpy as np
import pytest
import torch

from embedder.checkpoint import load
from embedder.content import Content
from embedder.thinking import _next_token, encode_batch

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def samples(inputs, picture):
    contents = [
        Content("3 red mugs"),
        Content("", picture),
        Content("as many striped boats as a bicycle has wheels, in the colour of grass", picture),
        Content("kites"),
    ]
    return [inputs.sample(content, "find the item") for content in contents]


def encode(backbone, inputs, samples, policy="auto", theta=0.5, max_new_tokens=12):
    return encode_batch(
        backbone, inputs, samples, policy=policy, theta=theta, max_new_tokens=max_new_tokens
    )


def plain_state(backbone, inputs, sample, answer):
    """Last hidden state of prompt and answer by one call of the model's own forward."""
    batch = inputs.batch([sample.extended(answer)])
    with torch.no_grad():
        output = backbone.model(
            input_ids=batch.input_ids_BL,
            attention_mask=batch.attention_mask_BL,
            mm_token_type_ids=batch.image_mask_BL,
            pixel_values=batch.patches_PV,
            image_grid_thw=batch.grids,
            output_hidden_states=True,
        )
    return output.hidden_states[-1][0], output.logits[0]


def unit(vector):
    return (vector / vector.norm()).numpy()


def test_direct_vectors_equal_a_plain_forward_of_the_same_prompt(backbone, inputs, samples):
    encodings = encode(backbone, inputs, samples, policy="never")
    for sample, encoding in zip(samples, encodings, strict=True):
        states, _ = plain_state(backbone, inputs, sample, [inputs.direct_id, inputs.emb_id])
        np.testing.assert_allclose(encoding.vector, unit(states[-1]), atol=TOLERANCE)


def test_gate_probability_is_the_softmax_of_the_two_gate_logits(backbone, inputs, samples):
    encodings = encode(backbone, inputs, samples)
    for sample, encoding in zip(samples, encodings, strict=True):
        _, logits = plain_state(backbone, inputs, sample, [])
        direct, reason = logits[-1, inputs.direct_id], logits[-1, inputs.reason_id]
        assert encoding.gate_probability == pytest.approx(
            torch.sigmoid(reason - direct).item(), abs=TOLERANCE
        )


def test_reasoned_vectors_equal_greedy_steps_with_a_full_forward_each(backbone, inputs, samples):
    """The reference keeps no cache: it reads the whole sequence anew for every token."""
    encodings = encode(backbone, inputs, samples, policy="always", max_new_tokens=6)
    for sample, encoding in zip(samples, encodings, strict=True):
        answer = [inputs.reason_id]
        while len(answer) < 6:
            _, logits = plain_state(backbone, inputs, sample, answer)
            logits[-1, inputs.forbidden_ids] = float("-inf")
            answer.append(int(logits[-1].argmax()))
            if answer[-1] == inputs.emb_id:
                break
        if answer[-1] != inputs.emb_id:
            answer.append(inputs.emb_id)
        states, _ = plain_state(backbone, inputs, sample, answer)
        assert encoding.rationale_tokens == len(answer) - 2
        np.testing.assert_allclose(encoding.vector, unit(states[-1]), atol=TOLERANCE)


@pytest.mark.parametrize("policy", ["never", "always", "auto"])
def test_a_vector_does_not_depend_on_its_batch(backbone, inputs, samples, policy):
    together = encode(backbone, inputs, samples, policy=policy)
    for sample, expected in zip(samples, together, strict=True):
        alone = encode(backbone, inputs, [sample], policy=policy)[0]
        assert alone.action == expected.action
        assert alone.rationale == expected.rationale
        np.testing.assert_allclose(alone.vector, expected.vector, atol=TOLERANCE)


def test_only_inputs_at_or_above_theta_reason(backbone, inputs, samples):
    gates = [e.gate_probability for e in encode(backbone, inputs, samples, policy="never")]
    theta = sorted(gates)[2]
    actions = [e.action for e in encode(backbone, inputs, samples, theta=theta)]
    assert actions == ["reason" if gate >= theta else "direct" for gate in gates]
    assert actions.count("reason") == 2


def test_policies_overrule_the_gate(backbone, inputs, samples):
    never = encode(backbone, inputs, samples, policy="never", theta=0.0)
    assert {e.action for e in never} == {"direct"}
    always = encode(backbone, inputs, samples, policy="always", theta=1.0)
    assert {e.action for e in always} == {"reason"}


def test_a_rationale_that_does_not_end_is_closed_by_force(backbone, inputs, samples):
    for encoding in encode(backbone, inputs, samples, policy="always", max_new_tokens=3):
        assert encoding.rationale_tokens <= 2  # the third token is the embedding's
        assert np.linalg.norm(encoding.vector) == pytest.approx(1.0, abs=TOLERANCE)


def test_no_control_token_comes_into_a_rationale_however_likely(inputs):
    class Eager:
        """Finds the control token that it is told of likeliest, and the word 7 next."""

        def logits(self, state):
            logits = torch.zeros(len(state), len(inputs.tokenizer))
            logits[:, int(state[0, 0])] = 9.0
            logits[:, 7 + len(inputs.tokenizer) // 2] = 5.0
            return logits

    word = 7 + len(inputs.tokenizer) // 2
    for token in ("<|im_end|>", "<|image_pad|>", "<|direct|>", "<|reason|>", "<|endoftext|>"):
        wanted = inputs.tokenizer.convert_tokens_to_ids(token)
        state = torch.full((1, 4), float(wanted))
        assert _next_token(Eager(), inputs, state, is_last=False).item() == word
    for token in ("<|summary|>", "<|emb|>"):
        wanted = inputs.tokenizer.convert_tokens_to_ids(token)
        state = torch.full((1, 4), float(wanted))
        assert _next_token(Eager(), inputs, state, is_last=False).item() == wanted


def test_thinkers_of_one_batch_that_end_at_different_times_do_not_disturb_each_other():
    """With the model that ships, whose rationales have the length that the question needs."""
    nano = load("nano")
    texts = (
        "as many hats as a bicycle has wheels",
        "boats, one more than a square has sides, in the colour of chocolate",
        "kites with the pattern of a zebra",
        "3 red mugs",
    )
    asked = [nano.inputs.sample(Content(text), "find the item") for text in texts]
    together = encode(nano.backbone, nano.inputs, asked, policy="always", max_new_tokens=64)
    assert len({encoding.rationale_tokens for encoding in together}) > 2
    for sample, expected in zip(asked, together, strict=True):
        (alone,) = encode(nano.backbone, nano.inputs, [sample], policy="always", max_new_tokens=64)
        assert (alone.rationale, alone.summary) == (expected.rationale, expected.summary)
        np.testing.assert_allclose(alone.vector, expected.vector, atol=TOLERANCE)
