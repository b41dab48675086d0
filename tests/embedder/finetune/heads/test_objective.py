"""Tests for embedder/finetune/heads/objective.py: heads learn pairs, and no duplicates apart."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.finetune.heads.feature_table import FeatureTable
from embedder.finetune.heads.objective import (
    HeadsObjective,
    PairFeatures,
    heads_trainer,
    image_key,
    num_steps,
    trained_dims,
)
from embedder.finetune.training.config import JointConfig, JointLossConfig
from embedder.pair.config import HeadsConfig
from embedder.pair.heads import Heads

CONFIG = JointConfig(
    num_steps=1000,
    batch_size=8,
    learning_rate=1e-2,
    warmup_steps=1,
    average_decay=0.0,
    loss=JointLossConfig(false_negative_margin=None),
)
SIZES = HeadsConfig(hidden_size=32, dim=16, prefixes=(8,), dropout=0.1, num_epochs=40)


def pair(number, *, title=None, image=None):
    title = title or f"title {number}"
    shown = Content(image=(image or f"image {number}").encode())
    return Pair(Content(title), shown, title, f"item {number}", pair_id=str(number))


@pytest.fixture
def pairs():
    return [pair(number) for number in range(24)]


def table(path, keys, dim):
    """Features that are a turn of what pairs have in common: there is something to learn."""
    turn = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(dim)))[0]

    def encode(chosen):
        common = torch.stack(
            [
                torch.randn(dim, generator=torch.Generator().manual_seed(keys.index(key)))
                for key in chosen
            ]
        )
        return common @ turn

    return FeatureTable.filled(path, keys, dim, encode)


@pytest.fixture
def features_of(tmp_path):
    number = itertools.count()

    def make(pairs):
        folder = tmp_path / str(next(number))
        texts = list(dict.fromkeys(one.query.text for one in pairs))
        images = list(dict.fromkeys(image_key(one.target) for one in pairs))
        read = table(folder / "texts.npy", texts, 12)
        return PairFeatures({"query": read, "item": read}, table(folder / "images.npy", images, 12))

    return make


def test_heads_learn_which_image_a_text_belongs_to(pairs, features_of, tmp_path):
    features = features_of(pairs)
    trainer = heads_trainer(pairs, features, CONFIG, SIZES)
    heads = trainer.train(tmp_path / "run", save_every=50)
    with torch.inference_mode():
        texts = heads.text(features.texts["query"].at(np.arange(24)))
        images = heads.image(features.images.at(np.arange(24)))
        for dim in (8, 16):
            score = F.normalize(texts[:, :dim]) @ F.normalize(images[:, :dim]).T
            assert (score.argmax(dim=1) == torch.arange(24)).float().mean() > 0.9, dim


def test_a_killed_training_ends_with_the_same_weights(pairs, features_of, tmp_path):
    features, few = features_of(pairs), replace(SIZES, num_epochs=2)
    whole = heads_trainer(pairs, features, CONFIG, few).train(tmp_path / "whole", save_every=2)
    killed = heads_trainer(pairs, features, CONFIG, few)
    step = killed.step

    def dying(number):
        if number == 3:
            raise KeyboardInterrupt
        return step(number)

    killed.step = dying
    with pytest.raises(KeyboardInterrupt):
        killed.train(tmp_path / "killed", save_every=2)
    resumed = heads_trainer(pairs, features, CONFIG, few).train(tmp_path / "killed", save_every=2)
    assert all(map(torch.equal, whole.state_dict().values(), resumed.state_dict().values()))


def loss_of(pairs, features):
    """The loss of new heads on a batch of all pairs."""
    heads = Heads(text_features=12, image_features=12, hidden_size=4, dim=8)
    config = replace(CONFIG, batch_size=len(pairs))
    return HeadsObjective(heads, pairs, features, config, dims=(8,)).backward(0, 0)["direct_direct"]


@pytest.mark.parametrize(
    "second",
    [
        pair(1, title="title 0"),  # the same title
        replace(pair(1, title="title 0"), query_key="other key"),  # the same text, whatever its key
        pair(1, image="image 0"),  # the same image
    ],
)
def test_what_shows_or_says_the_same_is_no_negative(second, features_of):
    """With nothing left to be told from, the loss of two pairs is 0."""
    same = [pair(0), second]
    assert loss_of(same, features_of(same)) == pytest.approx(0, abs=1e-6)
    apart = [pair(0), pair(1)]
    assert loss_of(apart, features_of(apart)) > 0.01


def test_every_pair_comes_up_in_each_epoch_unless_the_limit_comes_first():
    pairs = [replace(pair(n), source="ab"[n % 2]) for n in range(40)]  # two sources of 20
    assert num_steps(pairs, CONFIG, replace(SIZES, num_epochs=3)) == 3 * (20 // 8 + 20 // 8)
    assert num_steps(pairs, replace(CONFIG, num_steps=5), SIZES) == 5


def test_a_version_is_trained_on_from_where_it_was(pairs, features_of, tmp_path):
    features, few = features_of(pairs), replace(SIZES, num_epochs=3)
    start = heads_trainer(pairs, features, CONFIG, few).train(tmp_path / "one", save_every=50)
    mean_F = start.text.mean_F.clone()
    fresh = heads_trainer(pairs, features, CONFIG, few).step(0)["direct_direct"]
    trainer = heads_trainer(pairs, features, CONFIG, replace(few, dim=99), start=start)
    assert trainer.model.heads is start
    assert trainer.step(0)["direct_direct"] < fresh
    assert torch.equal(start.text.mean_F, mean_F)
    assert trained_dims(replace(SIZES, dim=99, prefixes=(4, 16, 32)), start.dim) == (4, 16)


def test_without_images_there_is_nothing_to_learn(features_of):
    texts = [Pair(Content(f"a {n}"), Content(f"b {n}"), f"a {n}", f"b {n}") for n in range(8)]
    features = features_of([pair(0)])
    empty = PairFeatures(features.texts, replace(features.images, row_of={}))
    with pytest.raises(ValueError, match="pairs with texts and with images"):
        heads_trainer(texts, empty, CONFIG, SIZES)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dim": 0}, "heads.dim must be at least 1"),
        ({"dropout": 1.0}, "heads.dropout must be in"),
        ({"prefixes": (64, 32)}, "heads.prefixes must ascend"),
        ({"prefixes": (256,)}, "heads.prefixes must ascend"),
    ],
)
def test_sizes_that_make_no_heads_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        HeadsConfig(**values)
