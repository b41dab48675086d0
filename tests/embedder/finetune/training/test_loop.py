"""Tests for loop.py and the state it keeps: a killed training goes on."""

import json
from dataclasses import replace

import polars as pl
import pytest
import torch

from embedder.finetune.data.augmentation import Augmentation
from embedder.finetune.records import TrainingExample
from embedder.finetune.training.config import JointConfig, SequenceObjectiveConfig
from embedder.finetune.training.joint import joint_trainer
from embedder.finetune.training.sequence_objective import SequenceObjective

CONFIG = JointConfig(num_steps=5, batch_size=4, warmup_steps=2, average_decay=0.5, swap_roles=True)


class Killed(Exception):
    """Stands for the end of the process."""


def trainer(checkpoint, pairs):
    examples = [TrainingExample(pair) for pair in pairs]
    return joint_trainer(checkpoint, examples, CONFIG, augment=Augmentation())


def dying_at(kill_at, step):
    def step_or_die(number):
        if number == kill_at:
            raise Killed
        return step(number)

    return step_or_die


def rows(folder):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "elapsed_s"} for line in lines]


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def whole(fresh, pairs, tmp_path):
    backbone = trainer(fresh(), pairs).train(tmp_path / "whole", save_every=2)
    return backbone, rows(tmp_path / "whole")


def test_a_line_for_every_save_and_for_the_end(whole):
    _, lines = whole
    assert [line["num_done"] for line in lines] == [2, 4, 5]
    assert all(line["finetune/direct_direct"] > 0 for line in lines)


def train_until_killed(trainer, folder, kill_at):
    trainer.step = dying_at(kill_at, trainer.step)
    with pytest.raises(Killed):
        trainer.train(folder, save_every=2)


@pytest.mark.parametrize("kill_at", [1, 2, 3])
def test_a_killed_training_ends_with_the_same_weights_and_log(
    fresh, pairs, tmp_path, whole, kill_at
):
    train_until_killed(trainer(fresh(), pairs), tmp_path, kill_at)
    resumed = trainer(fresh(), pairs).train(tmp_path, save_every=2)
    backbone, lines = whole
    assert same_weights(resumed, backbone)
    assert rows(tmp_path) == lines


def test_a_kill_between_log_and_state_logs_no_step_twice(fresh, pairs, tmp_path, whole):
    train_until_killed(trainer(fresh(), pairs), tmp_path, 3)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write(json.dumps({"num_done": 4, "elapsed_s": 0}) + "\n")  # its state is of 2 steps
    trainer(fresh(), pairs).train(tmp_path, save_every=2)
    assert rows(tmp_path) == whole[1]


def test_the_averaged_model_is_the_one_that_is_evaluated(fresh, pairs, tmp_path):
    seen = []

    def evaluate(backbone):
        seen.append(backbone)
        return {"valid/answer": 42.0}

    backbone = trainer(fresh(), pairs).train(tmp_path, save_every=5, evaluate=evaluate)
    assert rows(tmp_path)[0]["valid/answer"] == 42.0
    assert same_weights(seen[0], backbone)


def test_a_training_of_several_sources_and_objectives_goes_on_as_well(fresh, pairs, tmp_path):
    mixed = [TrainingExample(replace(pair, source="ab"[n % 2])) for n, pair in enumerate(pairs)]
    contents = {pair.target_key: pair.target for pair in pairs}
    items = sorted(contents)
    rows_of = {"items": [[item] for item in items[:-1]], "target": items[1:]}
    collaborative = SequenceObjectiveConfig(batch_size=2)

    def run(folder, num_steps=5):
        objective = SequenceObjective(pl.DataFrame(rows_of), contents, {}, collaborative)
        trainer = joint_trainer(fresh(), mixed, CONFIG, item_objectives=[objective])
        if num_steps < 5:
            trainer.step = dying_at(num_steps, trainer.step)
        return trainer.train(folder, save_every=2)

    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", num_steps=3)
    assert same_weights(run(tmp_path / "killed"), whole)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert rows(tmp_path / "whole")[0]["finetune/sequence"] > 0
