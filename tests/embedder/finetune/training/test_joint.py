"""Tests for joint.py: a killed training, rationales that are drawn, LoRA."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from embedder.content import Content
from embedder.finetune.data.pairs import Negative
from embedder.finetune.records import TrainingExample, WeightedRationale
from embedder.finetune.training.config import JointConfig, JointLossConfig, Lora
from embedder.finetune.training.forward import PromptWithAnswers, forward
from embedder.finetune.training.image_features import ImageFeatureCache
from embedder.finetune.training.joint import joint_trainer
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load
from embedder.prompting.answers import direct_answer, rationale_answer


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def examples(pairs):
    often, seldom = (
        WeightedRationale("grass is green", "mugs", 0.75),
        WeightedRationale("ash is grey", "hats", 0.25),
    )
    return [
        TrainingExample(pair, (often, seldom) if row % 2 else (), (seldom,) if row % 3 == 0 else ())
        for row, pair in enumerate(pairs)
    ]


def config(**changes):
    return JointConfig(
        **{"num_steps": 4, "batch_size": 4, "warmup_steps": 2, "average_decay": 0.5} | changes
    )


def weights(backbone):
    return [parameter.detach() for parameter in backbone.parameters()]


@pytest.mark.parametrize("lora", [None, Lora(rank=2, alpha=4)])
def test_a_killed_training_ends_with_the_same_weights(fresh, examples, tmp_path, lora):
    def trainer():
        return joint_trainer(fresh(), examples, config(lora=lora))

    whole = trainer().train(tmp_path / "whole", save_every=2)
    killed = trainer()
    step = killed.step

    def step_or_die(number):
        if number == 3:
            raise Killed
        return step(number)

    killed.step = step_or_die
    with pytest.raises(Killed):
        killed.train(tmp_path / "killed", save_every=2)
    resumed = trainer().train(tmp_path / "killed", save_every=2)
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(one, other)


def test_rationales_are_drawn_by_weight_anew_in_every_step(fresh, examples):
    trainer = joint_trainer(
        fresh(), [example for example in examples if example.query_rationales], config()
    )
    drawn = Counter(
        x.query_rationale.text for step in range(150) for x in trainer.objective.batch_at(step)
    )
    assert drawn.total() == 600
    assert drawn["grass is green"] / 600 == pytest.approx(0.75, abs=0.07)  # 4 standard deviations
    assert trainer.objective.batch_at(7) == trainer.objective.batch_at(7)


def test_the_best_rationale_is_the_heaviest_and_the_first_of_equals(fresh, pairs):
    rationales = (
        WeightedRationale("light", "", 0.2),
        WeightedRationale("first", "", 0.4),
        WeightedRationale("second", "", 0.4),
    )
    examples = [TrainingExample(pair, rationales) for pair in pairs]
    trainer = joint_trainer(fresh(), examples, config(rationale_choice="best"))
    assert {x.query_rationale.text for x in trainer.objective.batch_at(0)} == {"first"}
    assert {x.target_rationale for x in trainer.objective.batch_at(0)} == {None}


def stamp(content, rng):
    """An augmentation that shows what it drew."""
    return Content(f"{content.text} {rng.random()}", content.image)


def test_modalities_are_dropped_anew_in_every_step_and_hard_negatives_are_whole(fresh, pairs):
    whole = Content("a mug", b"image")
    shown = [
        replace(pair, target=whole, negatives=(Negative(whole, f"n{row}"),))
        for row, pair in enumerate(pairs)
    ]
    examples = [TrainingExample(pair) for pair in shown]
    trainer = joint_trainer(fresh(), examples, config(modality_dropout=0.5))
    steps = [[one.pair for one in trainer.objective.batch_at(step)] for step in range(100)]
    found = Counter((p.target.text, p.target.image) for pairs in steps for p in pairs)
    assert found.keys() == {("a mug", b"image"), ("a mug", None), ("", b"image")}
    assert found["a mug", b"image"] / 400 == pytest.approx(0.25, abs=0.09)  # 4 deviations
    assert all(p.negatives[0].content == whole for pairs in steps for p in pairs)
    assert [one.pair for one in trainer.objective.batch_at(7)] == steps[7]
    plain = joint_trainer(fresh(), examples, config())
    assert all(one.pair.target == whole for one in plain.objective.batch_at(7))


def test_contents_are_augmented_anew_in_every_step(fresh, examples):
    trainer = joint_trainer(fresh(), examples, config(), augment=stamp)
    batches = [trainer.objective.batch_at(step) for step in (0, 2, 4)]
    texts = [x.pair.query.text for batch in batches for x in batch]
    assert len(set(texts)) == len(texts)
    assert trainer.objective.batch_at(3) == trainer.objective.batch_at(3)


def test_hard_negatives_are_augmented_and_keys_are_not(fresh, pairs):
    hard = (Negative(Content("hat"), "9"),)
    examples = [TrainingExample(replace(pair, negatives=hard, source="s")) for pair in pairs]
    batch = joint_trainer(fresh(), examples, config(), augment=stamp).objective.batch_at(0)
    assert {tuple(one.key for one in x.pair.negatives) for x in batch} == {("9",)}
    assert len({x.pair.negatives[0].content.text for x in batch}) == 4
    assert {x.pair.source for x in batch} == {"s"}


def test_roles_are_swapped_in_every_second_step(fresh, pairs):
    examples = [TrainingExample(pair) for pair in pairs]
    swapping = joint_trainer(fresh(), examples, config(swap_roles=True))
    plain = joint_trainer(fresh(), examples, config())
    assert swapping.objective.backward(0, 0) == plain.objective.backward(0, 0)
    assert swapping.objective.backward(1, 0) != plain.objective.backward(1, 0)


def test_lora_moves_adapters_and_control_tokens_and_is_merged_in_the_end(fresh, examples):
    checkpoint = fresh()
    before = {name: weight.clone() for name, weight in checkpoint.backbone.state_dict().items()}
    rate = config(lora=Lora(rank=2, alpha=4), average_decay=0.0, learning_rate=0.01)
    trainer = joint_trainer(checkpoint, examples, rate)
    trainer.step(0)
    trainer.step(1)
    merged = trainer.averaged()
    after = merged.state_dict()
    assert set(after) == set(before)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {
        name
        for name in before
        if ("language_model.layers" in name and "proj" in name)
        or "embed_tokens" in name
        or "lm_head" in name
    }
    rows = before["model.lm_head.weight"] != after["model.lm_head.weight"]
    ids = checkpoint.inputs
    control = {ids.direct_id, ids.reason_id, ids.summary_id, ids.emb_id}
    assert set(torch.nonzero(rows.any(dim=1)).flatten().tolist()) <= control
    asked = [
        PromptWithAnswers(
            ids.sample(Content("3 red mugs"), "find"),
            (direct_answer(ids), rationale_answer(ids, "a", "b")),
        )
    ]
    with torch.no_grad():
        wrapped, plain = forward(trainer.model.backbone, ids, asked), forward(merged, ids, asked)
    torch.testing.assert_close(wrapped.vectors_NH, plain.vectors_NH, atol=1e-5, rtol=0)


def test_kept_image_features_change_nothing_but_the_time(fresh, examples):
    def trained(images):
        checkpoint = fresh()
        cache = ImageFeatureCache(checkpoint.backbone, checkpoint.inputs) if images else None
        trainer = joint_trainer(
            checkpoint, examples, config(train_vision_encoder=False), image_features=cache
        )
        return [trainer.step(step) for step in range(3)], checkpoint.backbone

    (computed, encoder), (kept, _) = trained(False), trained(True)
    for one, other in zip(computed, kept, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    visual = fresh().backbone.model.model.visual.state_dict()
    for name, weight in encoder.model.model.visual.state_dict().items():
        assert torch.equal(weight, visual[name])


def test_features_of_an_encoder_that_is_to_be_trained_are_refused(fresh, examples):
    checkpoint = fresh()
    cache = ImageFeatureCache(checkpoint.backbone, checkpoint.inputs)
    with pytest.raises(ValueError, match="set train_vision_encoder to False"):
        joint_trainer(checkpoint, examples, config(), image_features=cache)


def test_a_config_out_of_range_is_refused():
    with pytest.raises(ValueError, match="num_steps must be > 0, got 0"):
        config(num_steps=0)
    with pytest.raises(ValueError, match="batch_size must be > 0, got 0"):
        config(batch_size=0)
    with pytest.raises(ValueError, match=r"average_decay must be in \[0, 1\), got 1"):
        config(average_decay=1)
    with pytest.raises(ValueError, match=r"final_rate must be in \[0, 1\], got 2"):
        config(final_rate=2)


def test_training_finds_directly_and_reasoned_what_the_shipped_model_is_wrong_about(pairs):
    """Every query goes with the next product's image; the rationale names that product."""
    checkpoint = load("nano")
    examples = [
        TrainingExample(
            replace(pair, target=other.target),
            (WeightedRationale(other.query.text, other.query.text),),
        )
        for pair, other in zip(pairs, pairs[1:] + pairs[:1], strict=True)
    ]
    loss = JointLossConfig(false_negative_margin=None)
    trainer = joint_trainer(checkpoint, examples, config(num_steps=30, batch_size=10, loss=loss))

    def hit_at_1(policy):
        model = MMEmbR1(
            replace(checkpoint, backbone=trainer.averaged()), EmbedderConfig(policy=policy)
        )
        queries = model.encode_query([example.pair.query for example in examples])
        items = model.encode_items([example.pair.target for example in examples], policy="never")
        found = torch.tensor([[float(q.vector @ i.vector) for i in items] for q in queries])
        return (found.argmax(dim=1) == torch.arange(len(examples))).float().mean().item()

    assert max(hit_at_1("never"), hit_at_1("always")) <= 0.2
    for step in range(30):
        trainer.step(step)
    assert hit_at_1("never") >= 0.8
    assert hit_at_1("always") >= 0.8
