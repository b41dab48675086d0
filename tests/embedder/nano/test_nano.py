"""Tests for embedder/nano: what it learns from, and that its training can be interrupted."""

import pytest
import torch

from embedder.finetune.training.state import load_state, save_state
from embedder.nano.curriculum import curriculum_pairs, false_negatives
from embedder.nano.evaluation import heldout_products
from embedder.nano.training import Trainer


def trainer():
    return Trainer(num_steps=4, batch_size=4, learning_rate=1e-3, seed=3)


def test_no_pair_shows_a_held_out_combination():
    batch = [pair for step in range(5) for pair in curriculum_pairs(64, seed=0, step=step)]
    assert not [pair for pair in batch if pair.product.is_held_out]
    assert all(product.is_held_out for product in heldout_products(20, seed=0))


def test_pairs_depend_on_seed_and_step_alone():
    assert curriculum_pairs(8, seed=1, step=5) == curriculum_pairs(8, seed=1, step=5)
    assert curriculum_pairs(8, seed=1, step=5) != curriculum_pairs(8, seed=1, step=6)
    assert curriculum_pairs(8, seed=1, step=5) != curriculum_pairs(8, seed=2, step=5)


def test_every_pair_is_right_for_itself_and_what_fits_twice_is_no_negative():
    batch = curriculum_pairs(64, seed=0, step=0)
    mask = false_negatives(batch)
    assert mask.diagonal().all()
    for i, row in enumerate(batch):
        for j, column in enumerate(batch):
            if row.question is not None:
                wanted = row.question.wanted
                fits = all(
                    getattr(column.product, name) == getattr(wanted, name)
                    for name in row.question.asked
                )
                assert mask[i, j].item() == fits


def test_a_training_that_was_interrupted_ends_with_the_same_weights(tmp_path):
    whole = trainer()
    for step in range(4):
        whole.step(step)
    first = trainer()
    for step in range(2):
        first.step(step)
    save_state(tmp_path / "state.safetensors", first.optimizer, num_done=2)
    second = trainer()
    assert load_state(tmp_path / "state.safetensors", second.optimizer) == 2
    for step in range(2, 4):
        second.step(step)
    for name, weight in whole.backbone.model.state_dict().items():
        torch.testing.assert_close(
            second.backbone.model.state_dict()[name], weight, rtol=0, atol=0, msg=name
        )


def test_a_step_lowers_the_loss_of_its_own_batch():
    model = trainer()
    batch = curriculum_pairs(4, seed=3, step=0)
    before = sum(loss.item() for loss in model.losses(batch).values())
    for _ in range(3):
        model.step(0)
    after = sum(loss.item() for loss in model.losses(batch).values())
    assert after < before


@pytest.mark.parametrize(("step", "expected"), [(0, 1e-3 / 200), (199, 1e-3)])
def test_the_learning_rate_warms_up_over_200_steps(step, expected):
    model = Trainer(num_steps=1000, batch_size=2, learning_rate=1e-3, seed=0)
    assert model.rate_at(step) == pytest.approx(expected)
    assert model.rate_at(1000) == pytest.approx(1e-3 * 0.05)
