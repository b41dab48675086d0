"""Tests for embedder/finetune/training/sequence_objective.py."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.finetune.records import TrainingExample
from embedder.finetune.training.config import JointConfig, SequenceObjectiveConfig
from embedder.finetune.training.joint import joint_trainer
from embedder.finetune.training.sequence_objective import SequenceObjective, id_loss, sequence_loss
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load

ROOT = math.sqrt(0.5)


def rows(*sequences):
    """(items, target) as `sequences` gives them."""
    return pl.DataFrame(
        [(list(items), target) for items, target in sequences],
        schema={"items": pl.List(pl.String), "target": pl.String},
        orient="row",
    )


def test_the_mean_of_a_history_is_contrasted_with_what_followed():
    item_ND = torch.eye(4)
    loss = sequence_loss(item_ND, [[0, 1], [0]], [2, 3], dims=(4,), contrastive_temperature=1.0)
    torch.testing.assert_close(loss, torch.tensor(math.log(2)))  # all cosines are 0
    near = F.normalize(torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]]), dim=-1)
    loss = sequence_loss(near, [[0, 1], [1]], [2, 3], dims=(3,), contrastive_temperature=1.0)
    # Row 0 has cosines 1 and 0, row 1 has r and 0 where 0 is its own.
    forward = (math.log1p(math.exp(-1)) + math.log1p(math.exp(ROOT))) / 2
    backward = (math.log1p(math.exp(ROOT - 1)) + math.log(2)) / 2
    torch.testing.assert_close(loss, torch.tensor((forward + backward) / 2))


def test_an_item_of_the_own_history_and_the_same_target_are_no_negatives():
    item_ND = F.normalize(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    same = sequence_loss(item_ND, [[0], [1]], [2, 2], dims=(3,), contrastive_temperature=1.0)
    assert same.item() == 0.0
    # 3 followed [0]; [3] was followed by 2. Row 1 has 3 in its history, row 0 keeps 2 as negative.
    loss = sequence_loss(item_ND, [[0], [3]], [3, 2], dims=(3,), contrastive_temperature=1.0)
    own, other = item_ND[0] @ item_ND[3], item_ND[0] @ item_ND[2]
    ahead = math.log1p(math.exp(other - own)) / 2
    # Backwards, target 3 may only be told from row 0; target 2 is told from rows 0 and 1.
    back = math.log1p(math.exp(other - item_ND[3] @ item_ND[2])) / 2
    torch.testing.assert_close(loss.item(), (ahead + back) / 2, rtol=1e-5, atol=1e-6)


def test_prefixes_are_normalised_before_and_after_the_mean():
    item_ND = F.normalize(torch.tensor([[3.0, 0, 4], [0, 1, 9], [1, 1, 0], [1, -1, 5]]), dim=-1)
    loss = sequence_loss(item_ND, [[0, 1], [0]], [2, 3], dims=(2,), contrastive_temperature=1.0)
    # In two dimensions: (1, 0) and (0, 1) average to (r, r), as target 2 is; target 3 is (r, -r).
    forward = (math.log1p(math.exp(-1)) + math.log(2)) / 2
    backward = (math.log1p(math.exp(ROOT - 1)) + math.log1p(math.exp(-ROOT))) / 2
    torch.testing.assert_close(loss, torch.tensor((forward + backward) / 2))
    both = sequence_loss(item_ND, [[0, 1], [0]], [2, 3], dims=(2, 3), contrastive_temperature=1.0)
    full = sequence_loss(item_ND, [[0, 1], [0]], [2, 3], dims=(3,), contrastive_temperature=1.0)
    torch.testing.assert_close(both, (loss + full) / 2)


def test_the_id_loss_is_one_minus_the_cosine():
    items = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    targets = torch.tensor([[0.0, 1.0], [0.6, 0.8]])
    torch.testing.assert_close(id_loss(items, targets), torch.tensor(0.5))


CONTENTS = {f"i{n}": Content(str(n)) for n in range(6)}


def objective(sequences, id_vectors=None, **changes):
    config = SequenceObjectiveConfig(**{"batch_size": 2, "contrastive_temperature": 1.0} | changes)
    return SequenceObjective(sequences, CONTENTS, id_vectors or {}, config)


def texts(collaborative, step=0):
    return [content.text for content in collaborative.contents_at(step)]


def losses_on(table, collaborative):
    """At step 0, when the item whose text is `n` has row n of the table as its vector."""
    rows = [int(text) for text in texts(collaborative)]
    return collaborative.losses(0, F.normalize(table[rows], dim=-1))


def test_each_item_of_a_batch_is_embedded_once():
    both = rows((["i0", "i1"], "i2"), (["i1", "i2"], "i3"))
    assert texts(objective(both)) == ["0", "1", "2", "3"]


def test_the_losses_are_those_of_its_parts_weighted():
    table = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    unit = F.normalize(table, dim=-1)
    id_vectors = {"i0": np.eye(4, dtype=np.float32)[0], "i3": np.eye(4, dtype=np.float32)[2]}
    weights = {"sequence_weight": 0.5, "id_weight": 2.0}
    both = rows((["i0", "i1"], "i2"), (["i1"], "i3"))
    losses = losses_on(table, objective(both, id_vectors, dims=(2, 4), **weights))
    expected = sequence_loss(
        unit, [[0, 1], [1]], [2, 3], dims=(2, 4), contrastive_temperature=1.0
    )  # symmetric, so the order of the two does not matter
    torch.testing.assert_close(losses["sequence"], 0.5 * expected)
    distance = ((1 - unit[0, 0]) + (1 - unit[3, 2])) / 2
    torch.testing.assert_close(losses["id"], 2.0 * distance)


def test_items_without_behaviour_only_take_part_in_sequences():
    losses = losses_on(torch.eye(6), objective(rows((["i0"], "i1"), (["i2"], "i3"))))
    assert losses["id"].item() == 0.0
    assert losses["sequence"].item() > 0.0


def test_sequences_without_contents_are_left_out():
    mixed = rows((["gone", "i0"], "i1"), (["gone"], "i2"), (["i3"], "gone"), (["i4"], "i5"))
    assert texts(objective(mixed)) == ["0", "1", "4", "5"]
    with pytest.raises(ValueError, match=r"needs 3 sequences .* got 2; lower batch_size"):
        objective(mixed, batch_size=3)


def test_a_step_depends_on_its_number_alone():
    many = rows(*[([f"i{n}"], f"i{(n + 1) % 6}") for n in range(6)])

    def asked(steps, **changes):
        collaborative = objective(many, **changes)
        return [texts(collaborative, step) for step in steps]

    assert asked([0, 1, 2, 3])[3] == asked([3])[0]
    assert asked(range(6)) != asked(range(6), seed=1)


def test_a_batch_of_one_is_refused():
    with pytest.raises(ValueError, match=r"batch_size must be at least 2, .* got 1"):
        SequenceObjectiveConfig(batch_size=1)


def test_a_version_learns_a_behaviour_space_beside_its_content_space(pairs):
    checkpoint = load("nano")
    instructions = {"behaviour": ("What is liked with it?", "Who likes it?")}
    manifest = replace(checkpoint.manifest, instructions=instructions)
    checkpoint = replace(checkpoint, manifest=manifest)
    contents = {f"i{n}": pair.target for n, pair in enumerate(pairs)}
    # Items are liked in couples that have nothing to do with what their images show.
    partner = (np.arange(10) + 5) % 10
    likes = rows(*[([f"i{n}"], f"i{partner[n]}") for n in range(10)])
    trainer = joint_trainer(
        checkpoint,
        [TrainingExample(pair) for pair in pairs],
        JointConfig(num_steps=15, batch_size=10, warmup_steps=4, average_decay=0.5),
        item_objectives=[
            SequenceObjective(likes, contents, {}, SequenceObjectiveConfig(batch_size=10))
        ],
    )

    def model(space):
        read = replace(checkpoint, backbone=trainer.averaged(), manifest=space)
        return MMEmbR1(read, EmbedderConfig(policy="never"))

    def vectors(encodings):
        return np.stack([encoding.vector for encoding in encodings])

    def partners_found():
        behaviour = model(manifest.for_source("behaviour"))
        item_ND = vectors(behaviour.encode_items(list(contents.values())))
        return ((item_ND @ item_ND.T - 2 * np.eye(10)).argmax(axis=1) == partner).mean()

    assert partners_found() <= 0.3
    for step in range(15):
        trainer.step(step)
    assert partners_found() >= 0.8
    content = model(manifest)
    query_ND = vectors(content.encode_query([pair.query for pair in pairs]))
    item_ND = vectors(content.encode_items(list(contents.values())))
    assert ((query_ND @ item_ND.T).argmax(axis=1) == np.arange(10)).mean() >= 0.8
