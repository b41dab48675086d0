"""Tests for item_objectives.py: what else a step of joint training learns."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from embedder.finetune.records import TrainingExample
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.config import JointConfig
from embedder.finetune.training.item_objectives import backward
from embedder.finetune.training.joint import joint_trainer
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1


class Pull:
    """Pulls items along the first axis, the harder the later the step."""

    source = "behaviour"

    def __init__(self, contents, *, gate_weight=0.0):
        self.contents, self.gate_weight = contents, gate_weight

    def contents_at(self, step):
        return self.contents

    def losses(self, step, item_ND):
        return {"pull": -(step + 1) * item_ND[:, 0].mean()}


def with_behaviour(checkpoint):
    """The checkpoint with instructions of a behaviour space."""
    manifest = replace(checkpoint.manifest, instructions={"behaviour": ("", "Taste.")})
    return replace(checkpoint, manifest=manifest)


def test_a_step_learns_an_objective_under_its_sources_instruction(fresh, pairs):
    checkpoint = with_behaviour(fresh())
    behaviour = replace(checkpoint, manifest=checkpoint.manifest.for_source("behaviour"))
    content = pairs[0].target
    (encoding,) = MMEmbR1(behaviour, EmbedderConfig(policy="never")).encode_items([content])
    trainer = joint_trainer(
        checkpoint,
        [TrainingExample(pair) for pair in pairs],
        JointConfig(num_steps=4, batch_size=4, warmup_steps=0),
        item_objectives=[Pull([content])],
    )
    losses = [trainer.step(step) for step in range(4)]
    assert losses[0]["pull"] == pytest.approx(-encoding.vector[0], abs=1e-5)
    assert losses[3]["pull"] / 4 < losses[0]["pull"]


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_gradients_are_those_of_the_plain_losses(fresh, pairs, plain_forward, chunk_size):
    """The reference embeds one item after the other by the model's plain forward."""
    objective = Pull([pair.target for pair in pairs[:5]], gate_weight=0.5)

    def gradients(checkpoint, go_backward):
        backbone = checkpoint.backbone.requires_grad_(True)
        found = go_backward(backbone, checkpoint.inputs, checkpoint.manifest)
        kept = [p.grad for p in backbone.parameters() if p.grad is not None]
        return found, torch.cat([gradient.flatten() for gradient in kept])

    def plain(backbone, inputs, manifest):
        instruction = manifest.instructions["behaviour"][1]
        pulls, surprises = [], []
        for content in objective.contents:
            sample = inputs.sample(content, instruction)
            answer = [inputs.direct_id, inputs.emb_id]
            states, logits = plain_forward(sample, answer, backbone, inputs)
            pulls.append(-F.normalize(states[-1], dim=-1)[0] * 3)
            gate = logits[-3, [inputs.direct_id, inputs.reason_id]]
            surprises.append(-F.log_softmax(gate, dim=-1)[0])
        losses = {
            "pull": torch.stack(pulls).mean(),
            "behaviour_gate": 0.5 * torch.stack(surprises).mean(),
        }
        sum(losses.values()).backward()
        return {name: loss.item() for name, loss in losses.items()}

    def cached(backbone, inputs, manifest):
        return backward(
            objective, 2, CachedForward(backbone, inputs), manifest, chunk_size=chunk_size
        )

    expected_losses, expected = gradients(with_behaviour(fresh()), plain)
    losses, found = gradients(with_behaviour(fresh()), cached)
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    torch.testing.assert_close(
        found / expected.norm(), expected / expected.norm(), atol=1e-5, rtol=0
    )
