"""Tests for gating.py: gate and direct vector of one prefill against plain forwards.

The tolerance is 1e-5: padding and the kernels change the order of float32 sums, nothing else.
"""

import numpy as np
import pytest
import torch

from embedder.content import Failure
from embedder.engine.gating import Gate
from embedder.model.checkpoint import load

TOLERANCE = 1e-5


@pytest.fixture
def decide(backbone, inputs, prompts):
    def decided(rows=prompts, *, policy="auto", theta=0.5, keep_past=False):
        gated = (
            Gate(backbone, inputs, theta=theta)
            .launch(rows, policy=policy, keep_past=keep_past)
            .gated()
        )
        return sorted(gated, key=lambda one: one.row)

    return decided


def test_direct_vectors_equal_a_plain_forward_of_the_same_prompt(
    decide, prompts, inputs, plain_forward
):
    for one, (_, _, sample) in zip(decide(), prompts, strict=True):
        states, _ = plain_forward(sample, [inputs.direct_id, inputs.emb_id])
        expected = (states[-1] / states[-1].norm()).numpy()
        np.testing.assert_allclose(one.answer.vector, expected, atol=TOLERANCE)


def test_gate_probability_is_the_softmax_of_the_two_gate_logits(
    decide, prompts, inputs, plain_forward
):
    for one, (_, _, sample) in zip(decide(), prompts, strict=True):
        _, logits = plain_forward(sample, [])
        difference = logits[-1, inputs.reason_id] - logits[-1, inputs.direct_id]
        expected = torch.sigmoid(difference).item()
        assert one.answer.gate_probability == pytest.approx(expected, abs=TOLERANCE)


def test_the_kept_past_is_the_cache_of_a_plain_forward(decide, prompts, inputs, backbone):
    for one, (_, _, sample) in zip(decide(policy="always", keep_past=True), prompts, strict=True):
        batch = inputs.batch([sample])
        with torch.no_grad():
            output = backbone.model(
                input_ids=batch.input_ids_BL,
                mm_token_type_ids=batch.image_mask_BL,
                pixel_values=batch.patches_PV,
                image_grid_thw=batch.grids,
                use_cache=True,
            )
        for past, layer in zip(one.past_Y2KLD, output.past_key_values.layers, strict=True):
            for ours, theirs in zip(past, (layer.keys[0], layer.values[0]), strict=True):
                difference = (ours - theirs).abs().max() / theirs.abs().max()
                assert difference < TOLERANCE


def test_a_direct_vector_does_not_depend_on_its_batch(decide, prompts):
    for row, expected in zip(prompts, decide(), strict=True):
        (alone,) = decide([row])
        np.testing.assert_allclose(alone.answer.vector, expected.answer.vector, atol=TOLERANCE)


def test_only_inputs_at_or_above_theta_reason(decide):
    gates = [one.answer.gate_probability for one in decide()]
    theta = sorted(gates)[2]
    assert [one.reasons for one in decide(theta=theta)] == [gate >= theta for gate in gates]


def test_policies_overrule_the_gate(decide):
    assert not any(one.reasons for one in decide(policy="never", theta=0.0))
    assert all(one.reasons for one in decide(policy="always", theta=1.0))


def test_those_that_do_not_reason_come_first(backbone, inputs, prompts, decide):
    theta = sorted(one.answer.gate_probability for one in decide())[2]
    gated = (
        Gate(backbone, inputs, theta=theta).launch(prompts, policy="auto", keep_past=False).gated()
    )
    assert [one.reasons for one in gated] == [False, False, True, True]


def test_a_batch_is_launched_without_asking_the_device_for_anything(folder, prompts):
    """On the device `meta` there are no numbers, so whatever asks for one raises."""
    on_meta = load(str(folder), device="meta")
    gate = Gate(on_meta.backbone, on_meta.inputs, theta=0.5)
    launched = gate.launch(prompts, policy="auto", keep_past=True)
    assert launched.vectors_BH.shape == (len(prompts), on_meta.hidden_size)
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        launched.gated()


def test_a_batch_that_has_been_read_holds_no_keys_and_values(backbone, inputs, prompts):
    launched = Gate(backbone, inputs, theta=0.5).launch(prompts, policy="always", keep_past=True)
    assert launched.past_Y2BKLD is not None
    launched.gated()
    assert launched.past_Y2BKLD is None


def test_a_vector_that_is_not_finite_is_a_failure_of_its_own_row(backbone, inputs, prompts):
    class Broken:
        """Gives the second prompt a state that is not a number."""

        device = torch.device("cpu")
        read_back, vectors = backbone.read_back, staticmethod(backbone.vectors)

        def prefill(self, *args, **options):
            states = backbone.prefill(*args, **options)
            states[1, 1, 0] = float("nan")
            return states

        def logits(self, *args):
            return backbone.logits(*args)

    gated = (
        Gate(Broken(), inputs, theta=0.5).launch(prompts, policy="never", keep_past=False).gated()
    )
    assert [isinstance(one.answer, Failure) for one in gated] == [False, True, False, False]
