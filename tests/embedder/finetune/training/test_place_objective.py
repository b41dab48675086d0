"""Tests for embedder/finetune/training/place_objective.py."""

import math

import numpy as np
import pytest
import torch

from embedder.content import Content
from embedder.finetune.training.config import PlaceObjectiveConfig
from embedder.finetune.training.place_objective import PlaceObjective

ITEMS = "abc"
CONTENTS = {item: Content(item) for item in ITEMS}
AXES = dict(zip(ITEMS, np.eye(3, dtype=np.float32), strict=True))


def placement(*, num_users=None, **config):
    settings = {"source": "behaviour", "batch_size": 3, "contrastive_temperature": 1.0} | config
    users = num_users or dict.fromkeys(ITEMS, 1)
    return PlaceObjective(CONTENTS, AXES, AXES, users, PlaceObjectiveConfig(**settings))


def losses_as(vectors, objective):
    """The losses of a step in which each item has the given vector."""
    rows = [vectors[content.text] for content in objective.contents_at(0)]
    return objective.losses(0, torch.tensor(np.stack(rows)))


def test_items_in_their_places_lose_nothing_but_what_the_temperature_leaves():
    losses = losses_as(AXES, placement(place_weight=2.0, find_weight=0.5))
    assert losses["place"].item() == pytest.approx(0, abs=1e-6)
    # Each finds its own at cosine 1 among two at cosine 0.
    assert losses["find"].item() == pytest.approx(0.5 * math.log(1 + 2 / math.e), abs=1e-6)


def test_an_item_in_anothers_place_is_at_distance_one():
    swapped = {"a": AXES["b"], "b": AXES["a"], "c": AXES["c"]}
    losses = losses_as(swapped, placement(place_weight=3.0))
    assert losses["place"].item() == pytest.approx(3.0 * 2 / 3, abs=1e-6)


def test_popular_items_come_up_by_the_square_root_of_their_users():
    drawer = placement(num_users={"a": 16, "b": 4, "c": 4}, batch_size=1)
    drawn = [drawer.drawn(step)[0] for step in range(4000)]
    # 4 of 4 + 2 + 2; the standard error of a share over 4,000 draws is 0.008.
    assert drawn.count("a") / 4000 == pytest.approx(0.5, abs=0.03)


def test_a_step_draws_the_same_items_again_and_none_twice():
    assert placement().drawn(7) == placement().drawn(7)
    assert sorted(placement().drawn(7)) == list(ITEMS)
    assert len({tuple(placement().drawn(step)) for step in range(20)}) > 1
