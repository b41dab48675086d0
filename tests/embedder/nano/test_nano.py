"""Tests for embedder/nano: what it learns from, and that its training can be interrupted."""

import json

import pytest
import torch

from embedder.model.checkpoint import load
from embedder.nano import training
from embedder.nano.curriculum import curriculum_pairs, false_negatives
from embedder.nano.evaluation import heldout_products
from embedder.nano.training import nano_config, nano_trainer


class Killed(Exception):
    """Stands for the end of the process."""


def trainer():
    return nano_trainer(nano_config(num_steps=4, learning_rate=1e-3, seed=3), batch_size=4)


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


def killed_at(trainer, kill_at):
    """The trainer, which dies before the step of this number."""
    step = trainer.step

    def step_or_die(number):
        if number == kill_at:
            raise Killed
        return step(number)

    trainer.step = step_or_die
    return trainer


def test_a_training_that_was_interrupted_ends_with_the_same_weights(tmp_path):
    whole = trainer().train(tmp_path / "whole", save_every=2)
    with pytest.raises(Killed):
        killed_at(trainer(), 3).train(tmp_path / "killed", save_every=2)
    resumed = trainer().train(tmp_path / "killed", save_every=2)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(
            resumed.model.state_dict()[name], weight, rtol=0, atol=0, msg=name
        )


def test_a_step_lowers_the_loss_of_its_own_batch():
    learner = trainer()
    batch = curriculum_pairs(4, seed=3, step=0)
    before = sum(loss.item() for loss in learner.objective.losses(batch).values())
    for _ in range(3):
        learner.step(0)
    after = sum(loss.item() for loss in learner.objective.losses(batch).values())
    assert after < before


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 1e-3 / 200), (199, 1e-3), (600, 5.25e-4), (1000, 5e-5)]
)
def test_the_rate_warms_up_over_200_steps_and_ends_at_a_twentieth(step, expected):
    config = nano_config(num_steps=1000, learning_rate=1e-3, seed=0)
    assert nano_trainer(config, batch_size=2).rate_at(step) == pytest.approx(expected)


def test_the_command_leaves_log_state_and_a_checkpoint_that_loads(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "heldout_hits", lambda *given, **options: {"heldout/hits": 0.5})
    options = ["--steps", "2", "--batch-size", "4", "--eval-every", "1", "--threads", "1"]
    monkeypatch.setattr("sys.argv", ["training", "--out", str(tmp_path), *options])
    training.main()
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["num_done"] for row in rows] == [1, 2]
    assert all(row["nano/query_next_token"] > 0 for row in rows)
    assert all(row["heldout/hits"] == 0.5 for row in rows)
    assert (tmp_path / "state.safetensors").exists()
    assert load(str(tmp_path / "checkpoint")).manifest.name == "nano"
