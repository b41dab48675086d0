"""Tests for embedder/finetune/training/contrastive.py."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from embedder.content import Content
from embedder.finetune.data.pairs import Negative, Pair
from embedder.finetune.training.contrastive import ContrastiveConfig, ContrastiveTrainer
from embedder.finetune.training.image_features import ImageFeatureCache
from embedder.finetune.training.losses import matryoshka_info_nce
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load


def config(**changes):
    return ContrastiveConfig(**{"num_steps": 20, "batch_size": 4, "warmup_steps": 4} | changes)


def embedder(checkpoint, backbone):
    return MMEmbR1(replace(checkpoint, backbone=backbone), EmbedderConfig(policy="never"))


def vectors(encodings):
    return np.stack([encoding.vector for encoding in encodings])


def hit_at_1(checkpoint, backbone, pairs):
    model = embedder(checkpoint, backbone)
    query_ND = vectors(model.encode_query([pair.query for pair in pairs]))
    item_ND = vectors(model.encode_items([pair.target for pair in pairs]))
    return ((query_ND @ item_ND.T).argmax(axis=1) == np.arange(len(pairs))).mean()


def test_training_finds_what_the_shipped_model_is_wrong_about(pairs):
    checkpoint = load("nano")
    # Every title goes with the next product's image, so all that nano knows is against it.
    shifted = [
        replace(pair, target=other.target)
        for pair, other in zip(pairs, pairs[1:] + pairs[:1], strict=True)
    ]
    trainer = ContrastiveTrainer(
        checkpoint, shifted, config(num_steps=25, batch_size=10, average_decay=0.5)
    )
    before = hit_at_1(checkpoint, trainer.averaged(), shifted)
    for step in range(25):
        trainer.step(step)
    assert before <= 0.2
    assert hit_at_1(checkpoint, trainer.averaged(), shifted) >= 0.8


def test_the_losses_are_those_of_the_vectors_and_gates_that_the_embedder_gives(fresh, pairs):
    checkpoint = fresh()
    model = embedder(checkpoint, fresh().backbone)
    queries = model.encode_query([pair.query for pair in pairs])
    targets = model.encode_items([pair.target for pair in pairs])
    losses = ContrastiveTrainer(checkpoint, pairs, config(gate_weight=0.5)).losses(pairs)
    expected = matryoshka_info_nce(
        torch.from_numpy(vectors(queries)),
        torch.from_numpy(vectors(targets)),
        dims=(32, 64, 128),
        contrastive_temperature=0.05,
    )
    torch.testing.assert_close(losses["contrast"], expected, rtol=1e-4, atol=1e-4)  # / 0.05
    surprise = [-math.log(1 - encoding.gate_probability) for encoding in (*queries, *targets)]
    assert losses["gate"].item() == pytest.approx(0.5 * np.mean(surprise), abs=1e-5)


def test_swapped_roles_are_swapped_pairs(fresh, pairs):
    trainer = ContrastiveTrainer(fresh(), pairs, config())
    reversed_pairs = [Pair(p.target, p.query, p.target_key, p.query_key) for p in pairs]
    swapped = trainer.losses(pairs, swapped=True)
    assert swapped["contrast"].item() != trainer.losses(pairs)["contrast"].item()
    for name, loss in trainer.losses(reversed_pairs).items():
        assert swapped[name].item() == loss.item()


def test_pairs_that_ask_the_same_are_not_held_against_each_other(fresh, pairs):
    same = [replace(pair, query_key="same") for pair in pairs]
    trainer = ContrastiveTrainer(fresh(), pairs, config())
    assert trainer.losses(same)["contrast"].item() == 0.0
    assert trainer.losses(pairs)["contrast"].item() > 0.1


def test_a_hard_negative_is_one_more_target_of_its_own_query(fresh, pairs):
    checkpoint = fresh()
    model = embedder(checkpoint, fresh().backbone)
    four, (hard, *_) = pairs[:4], pairs[4:]
    batch = [replace(four[0], negatives=(Negative(hard.target, hard.target_key),)), *four[1:]]
    losses = ContrastiveTrainer(checkpoint, pairs, config()).losses(batch)
    left_out = torch.zeros(4, 5, dtype=torch.bool)
    left_out[1:, 4] = True
    expected = matryoshka_info_nce(
        torch.from_numpy(vectors(model.encode_query([pair.query for pair in four]))),
        torch.from_numpy(vectors(model.encode_items([pair.target for pair in (*four, hard)]))),
        dims=(32, 64, 128),
        contrastive_temperature=0.05,
        is_false_negative_BN=left_out,
    )
    torch.testing.assert_close(losses["contrast"], expected, rtol=1e-4, atol=1e-4)  # / 0.05


def test_hard_negatives_are_left_out_where_targets_ask(fresh, pairs):
    trainer = ContrastiveTrainer(fresh(), pairs, config())
    batch = [replace(p, negatives=(Negative(pairs[9].target, "9"),)) for p in pairs[:4]]
    hardened, plain = (trainer.losses(b, swapped=True)["contrast"] for b in (batch, pairs[:4]))
    assert hardened.item() == plain.item()


def test_a_source_is_read_with_its_own_instructions(fresh, pairs):
    checkpoint = fresh()
    own = replace(checkpoint.manifest, instructions={"search": ("Ask for it.", "Show it.")})
    listed = ContrastiveTrainer(replace(checkpoint, manifest=own), pairs, config())
    chosen = replace(own, query_instruction="Ask for it.", item_instruction="Show it.")
    always = ContrastiveTrainer(replace(checkpoint, manifest=chosen), pairs, config())
    default = ContrastiveTrainer(checkpoint, pairs, config())
    search = [replace(pair, source="search") for pair in pairs]
    other = [replace(pair, source="other") for pair in pairs]
    assert listed.losses(search)["contrast"].item() == always.losses(pairs)["contrast"].item()
    assert listed.losses(other)["contrast"].item() == default.losses(pairs)["contrast"].item()
    assert listed.losses(search)["contrast"].item() != default.losses(pairs)["contrast"].item()


def test_an_epoch_shows_pairs_once_and_the_next_in_another_order(fresh, pairs):
    trainer = ContrastiveTrainer(fresh(), pairs, config())
    steps = [[pair.query_key for pair in trainer.batch_at(step)] for step in range(4)]
    for epoch in (steps[0] + steps[1], steps[2] + steps[3]):  # 10 pairs: two of 4, two left out
        assert len(set(epoch)) == 8
    assert steps[:2] != steps[2:]
    other = ContrastiveTrainer(fresh(), pairs, config(seed=1))
    assert [pair.query_key for pair in other.batch_at(0)] != steps[0]


def test_contents_are_augmented_anew_in_every_step(fresh, pairs):
    def stamp(content, rng):
        return Content(f"{content.text} {rng.random()}", content.image)

    trainer = ContrastiveTrainer(fresh(), pairs, config(), augment=stamp)
    texts = [pair.query.text for step in (0, 2, 4) for pair in trainer.batch_at(step)]
    assert len(set(texts)) == len(texts)
    assert trainer.batch_at(3) == trainer.batch_at(3)


def test_hard_negatives_are_augmented_and_keys_are_not(fresh, pairs):
    def stamp(content, rng):
        return Content(f"{content.text} {rng.random()}", content.image)

    hard = [
        replace(
            pair, negatives=(Negative(Content("hat"), "9"),), source="s", pair_id=pair.query_key
        )
        for pair in pairs
    ]
    batch = ContrastiveTrainer(fresh(), hard, config(), augment=stamp).batch_at(0)
    (negatives,) = {tuple(n.key for n in pair.negatives) for pair in batch}
    assert negatives == ("9",)
    assert len({pair.negatives[0].content.text for pair in batch}) == 4
    assert {(pair.source, pair.pair_id == pair.query_key) for pair in batch} == {("s", True)}


@pytest.mark.parametrize(("step", "share"), [(0, 0.25), (3, 1.0), (4, 1.0), (12, 0.5), (20, 0.0)])
def test_the_rate_warms_up_and_follows_a_cosine_to_zero(fresh, pairs, step, share):
    trainer = ContrastiveTrainer(fresh(), pairs, config(learning_rate=2e-3))
    assert trainer.rate_at(step) == pytest.approx(2e-3 * share, abs=1e-12)


def test_the_average_moves_by_a_share_of_the_distance(fresh, pairs):
    trainer = ContrastiveTrainer(fresh(), pairs, config(average_decay=0.75))
    before = [parameter.detach().clone() for parameter in trainer.backbone.parameters()]
    trainer.step(0)
    kept = trainer.averaged().parameters()
    for old, new, average in zip(before, trainer.backbone.parameters(), kept, strict=True):
        torch.testing.assert_close(average, 0.75 * old + 0.25 * new.detach())


def test_kept_images_change_no_loss_and_the_encoder_stays(fresh, pairs):
    checkpoint, fixed = fresh(), config(train_vision_encoder=False)
    images = ImageFeatureCache(checkpoint.backbone, checkpoint.inputs)
    trainer = ContrastiveTrainer(checkpoint, pairs, fixed, images=images)
    plain = ContrastiveTrainer(fresh(), pairs, fixed)
    encoder = [p.clone() for p in checkpoint.backbone.model.model.visual.parameters()]
    for step in range(3):
        assert trainer.step(step) == pytest.approx(plain.step(step), abs=1e-5)
    for old, new in zip(encoder, checkpoint.backbone.model.model.visual.parameters(), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=0)


def test_kept_images_of_an_encoder_that_is_trained_are_refused(fresh, pairs):
    checkpoint = fresh()
    images = ImageFeatureCache(checkpoint.backbone, checkpoint.inputs)
    with pytest.raises(ValueError, match="set train_vision_encoder"):
        ContrastiveTrainer(checkpoint, pairs, config(), images=images)


def test_fewer_pairs_than_a_batch_are_refused(fresh, pairs):
    with pytest.raises(ValueError, match="a batch needs 11 pairs, got 10; lower batch_size"):
        ContrastiveTrainer(fresh(), pairs, config(batch_size=11))


def test_a_config_out_of_range_is_refused():
    with pytest.raises(ValueError, match="num_steps must be > 0, got 0"):
        config(num_steps=0)
    with pytest.raises(ValueError, match=r"average_decay must be in \[0, 1\), got 1"):
        config(average_decay=1)
