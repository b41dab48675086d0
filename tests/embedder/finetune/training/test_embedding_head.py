"""Tests for embedding_head.py: the head learns, and the reasoner below it stays to the bit."""

import math

import pytest
import torch

from embedder.finetune.gate.config import GateConfig
from embedder.finetune.gate.objective import gate_trainer
from embedder.finetune.records import TrainingExample, WeightedRationale
from embedder.finetune.training.config import HeadTrainingConfig, JointConfig, JointLossConfig
from embedder.finetune.training.embedding_head import (
    TrainedHead,
    head_trainer,
    with_embedding_head,
)
from embedder.finetune.training.joint import joint_trainer
from embedder.finetune.training.loop import Trainer
from embedder.head_config import EmbeddingHeadConfig

KINDS = [HeadTrainingConfig(), HeadTrainingConfig(kind="pooler", num_layers=1)]
CONFIG = JointConfig(
    num_steps=8,
    batch_size=4,
    warmup_steps=1,
    average_decay=0.0,
    loss=JointLossConfig(next_token=3.0, gate=0.1),
)


@pytest.fixture(scope="module")
def examples(pairs):
    rationale = WeightedRationale("grass is green", "mugs")
    return [TrainingExample(pair, (rationale,) if n % 2 else ()) for n, pair in enumerate(pairs)]


def state(backbone):
    return {name: weight.clone() for name, weight in backbone.state_dict().items()}


def moved(before, backbone):
    after = backbone.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("kind", KINDS, ids=["layers", "pooler"])
def test_the_head_learns_and_no_other_weight_moves(fresh, examples, kind, tmp_path):
    start = with_embedding_head(fresh(), kind.architecture)
    start.backbone.requires_grad_(True)  # as a training before may have left it
    before = state(start.backbone)
    trainer = head_trainer(start, examples, kind.of_head(CONFIG))
    losses = [sum(trainer.step(step).values()) for step in (0, 0, 0, 0)]
    assert losses[-1] < losses[0]
    own = {name for name in before if name.startswith("head.")}
    assert moved(before, start.backbone) == own
    assert moved(before, trainer.averaged()) == own


def test_a_reasoner_that_is_not_frozen_would_move(fresh, examples):
    # Of the test above: it is the freeze that keeps the reasoner as it is, and not the loss.
    start = with_embedding_head(fresh(), EmbeddingHeadConfig())
    before = state(start.backbone)
    trainer = head_trainer(start, examples, KINDS[0].of_head(CONFIG))
    start.backbone.requires_grad_(True)
    broken = Trainer(TrainedBroken(start.backbone), trainer.config, trainer.objective)
    broken.step(0)
    assert any(name.startswith("model.") for name in moved(before, start.backbone))


class TrainedBroken(TrainedHead):
    """Yields all weights, and freezes none."""

    def __init__(self, backbone):
        self._backbone = backbone

    def parameters(self):
        return self._backbone.parameters()


def test_the_reasoner_learns_to_write_and_an_earlier_head_stays_as_it_is(fresh, examples):
    start = with_embedding_head(fresh(), EmbeddingHeadConfig())
    before = state(start.backbone)
    trainer = joint_trainer(start, examples, KINDS[0].of_reasoner(CONFIG))
    assert set(trainer.step(0)) == {"next_token", "gate"}
    assert moved(before, start.backbone)
    assert not any(name.startswith("head.") for name in moved(before, start.backbone))


@pytest.mark.parametrize(("num_steps", "share"), [(600, 0.5), (7, 0.3), (2, 0.9), (2, 0.1)])
def test_reasoner_and_head_share_the_steps_of_joint_training(num_steps, share):
    joint = JointConfig(num_steps=num_steps)
    split = HeadTrainingConfig(step_share=share)
    parts = split.of_reasoner(joint).num_steps, split.of_head(joint).num_steps
    assert sum(parts) == num_steps
    assert min(parts) >= 1
    assert abs(parts[1] - share * num_steps) <= 1


def test_the_two_parts_learn_all_that_joint_training_does_and_each_loss_once():
    reasoner, head = (part(CONFIG).loss for part in (KINDS[0].of_reasoner, KINDS[0].of_head))
    names = ("direct_direct", "reason_reason", "reason_direct", "direct_reason")
    for name in (*names, "next_token", "gate"):
        weights = getattr(reasoner, name), getattr(head, name)
        assert sum(weights) == getattr(CONFIG.loss, name)
        assert weights[name in names] > 0


def test_a_head_that_is_built_alike_is_trained_on(fresh):
    start = with_embedding_head(fresh(), EmbeddingHeadConfig(num_layers=1))
    start.backbone.head.norm.weight.data.fill_(math.pi)
    kept = with_embedding_head(start, EmbeddingHeadConfig(num_layers=1))
    assert kept.backbone.head is start.backbone.head
    other = with_embedding_head(start, EmbeddingHeadConfig(num_layers=2))
    assert len(other.backbone.head.layers) == 2
    assert not torch.equal(other.backbone.head.norm.weight, start.backbone.head.norm.weight)


def test_what_would_change_the_reasoner_below_a_head_is_refused(fresh, examples):
    start = with_embedding_head(fresh(), EmbeddingHeadConfig())
    with pytest.raises(ValueError, match="has an embedding head, which does not follow"):
        joint_trainer(start, examples, CONFIG)
    with pytest.raises(ValueError, match="has an embedding head, which does not follow"):
        gate_trainer(start, examples, GateConfig(num_steps=1, batch_size=4))


def test_a_head_is_not_taught_what_it_cannot_learn(fresh, examples):
    with pytest.raises(ValueError, match="must have an embedding head"):
        head_trainer(fresh(), examples, KINDS[0].of_head(CONFIG))
    start = with_embedding_head(fresh(), EmbeddingHeadConfig())
    with pytest.raises(ValueError, match=r"by contrast alone, got .* next_token 3.0 and gate 0.1"):
        head_trainer(start, examples, CONFIG)


@pytest.mark.parametrize("changes", [{"step_share": 0.0}, {"step_share": 1}, {"learning_rate": 0}])
def test_a_share_or_rate_that_cannot_be_is_refused(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be"):
        HeadTrainingConfig(**changes)
