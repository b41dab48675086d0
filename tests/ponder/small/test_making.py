"""Tests for ponder/small/making.py: from two tiny teachers to a version that opens, at toy size."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.small.distillation import DistillationConfig
from embedder.small.recipe import SmallConfig
from embedder.small.sight import SightConfig
from ponder.small.making import Amounts, Places, make_small
from tests.tiny_encoders import write_lite0, write_text_model

AMOUNTS = Amounts(num_pairs=16, num_scenes=8)
SHORT = {"num_steps": 2, "warmup_steps": 1, "batch_blocks": 2, "learning_rate": 1e-3}
CONFIG = SmallConfig(
    text=DistillationConfig(**SHORT, train_vision_encoder=False), sight=SightConfig(**SHORT)
)


@pytest.fixture(scope="module")
def places(tmp_path_factory, wordnet_folder, emoji_folder):
    teachers = tmp_path_factory.mktemp("teachers")
    text = write_text_model(teachers / "text")
    return Places(wordnet_folder, emoji_folder, text, write_lite0(teachers / "image"))


@pytest.fixture(scope="module")
def made(places, tmp_path_factory):
    return make_small(places, tmp_path_factory.mktemp("small"), AMOUNTS, config=CONFIG)


def test_what_is_made_opens_and_embeds_texts_and_images_and_never_reasons(made, emoji_folder):
    import polars as pl

    image = pl.read_parquet(emoji_folder / "images.parquet")["image"][0]
    encoder = MMEmbR1.open(EmbedderConfig(model=str(made)))
    contents = [Content("red boats"), Content(image=image), Content("red boats", image)]
    encodings = encoder.encode_query(contents)
    assert [one.action for one in encodings] == ["direct"] * 3
    assert [one.gate_probability for one in encodings] == pytest.approx([0.5] * 3)
    assert encoder.dims == (64, 128, 256)
    vectors = np.stack([one.vector for one in encodings])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert abs(vectors[0] @ vectors[1]) < 0.99
    (item,) = encoder.encode_items(contents[:1])  # one instruction for both sides
    np.testing.assert_allclose(item.vector, vectors[0], atol=1e-5)


def test_the_manifest_tells_what_it_was_made_from(made):
    lineage = json.loads((made / "manifest.json").read_text())["lineage"]
    assert lineage["amounts"] == {"num_pairs": 16, "num_scenes": 8, "seed": 1}
    assert lineage["config"]["text"]["num_steps"] == 2
    assert all(len(digest) == 64 for digest in lineage["sha256"].values())
    assert "MiniLM" in lineage["sources"]["text_teacher"]


@pytest.mark.slow
def test_texts_keep_their_vectors_while_sight_is_trained(made, places, tmp_path):
    blind = make_small(
        places,
        tmp_path,
        AMOUNTS,
        config=replace(CONFIG, sight=replace(CONFIG.sight, learning_rate=1e-12)),
    )
    seeing, unseeing = (
        MMEmbR1.open(EmbedderConfig(model=str(one))).encode_query([Content("red boats")])[0]
        for one in (made, blind)
    )
    np.testing.assert_array_equal(seeing.vector, unseeing.vector)
    weights, others = (load_file(one / "model.safetensors") for one in (made, blind))
    moved = {name for name in weights if not weights[name].equal(others[name])}
    assert moved
    assert all(".visual." in name for name in moved)


@pytest.mark.slow
def test_a_killed_making_ends_with_the_same_weights(made, places, tmp_path, monkeypatch):
    from embedder.small import recipe

    class Killed(Exception):
        pass

    def killed(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(recipe, "train_sight", killed)
        with pytest.raises(Killed):
            make_small(places, tmp_path, AMOUNTS, config=CONFIG)
    kept = (tmp_path / "text" / "state.safetensors").stat().st_mtime_ns
    again = make_small(places, tmp_path, AMOUNTS, config=CONFIG)
    assert (tmp_path / "text" / "state.safetensors").stat().st_mtime_ns == kept
    first, second = (load_file(one / "model.safetensors") for one in (made, again))
    assert all(first[name].equal(second[name]) for name in first)
