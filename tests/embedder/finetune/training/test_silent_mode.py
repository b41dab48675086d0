"""Tests for silent_mode.py: what a checkpoint with a silent mode is, and that it is a plain one."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from embedder.content import Content
from embedder.finetune.training.silent_mode import with_silent_mode
from embedder.finetune.training.version_folder import write_version
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load
from embedder.version import SilentMode, read_manifest, version_id

QUERIES = [Content("3 red mugs"), Content("as many hats as a bicycle has wheels")]


def encoded(checkpoint, policy, side="query"):
    encoder = MMEmbR1(checkpoint, EmbedderConfig())
    if side == "item":
        return encoder.encode_items(QUERIES, policy=policy)
    return encoder.encode_query(QUERIES, policy=policy)


@pytest.mark.parametrize("way", ["tokens", "states"])
def test_a_version_with_the_mode_is_a_plain_folder_that_encodes_as_before(
    with_silent, tmp_path, way
):
    made = with_silent(SilentMode(num_latents=2, way=way))
    write_version(made.backbone, made, tmp_path, manifest=made.manifest)
    loaded = load(str(tmp_path))
    assert loaded.gate_is_trained
    assert loaded.manifest.silent == SilentMode(num_latents=2, way=way)
    assert len(loaded.inputs.latent_ids) == (2 if way == "tokens" else 0)
    for own, again in zip(encoded(made, "silent"), encoded(loaded, "silent"), strict=True):
        assert (own.action, again.action, again.rationale) == ("silent", "silent", "")
        np.testing.assert_allclose(own.vector, again.vector, atol=1e-6)
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert plain.get_input_embeddings().weight.shape[0] == len(loaded.inputs.tokenizer)


def test_direct_vectors_stay_and_silence_starts_as_likely_as_a_direct_answer(
    checkpoint, with_silent
):
    made = with_silent(SilentMode(num_latents=2))
    before, after = encoded(checkpoint, "never"), encoded(made, "never")
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one.vector, other.vector, atol=1e-6)
        direct = 1 - other.gate_probability - other.silent_probability
        assert other.silent_probability == pytest.approx(direct, abs=1e-6)
        assert other.gate_probability / direct == pytest.approx(
            one.gate_probability / (1 - one.gate_probability), rel=1e-4
        )


def test_tokens_that_are_known_stay_as_they_are(with_silent):
    made = with_silent(SilentMode(num_latents=2))
    rows = made.backbone.model.get_input_embeddings().weight.clone()
    own = replace(made, backbone=copy.deepcopy(made.backbone))
    longer = with_silent_mode(own, SilentMode(num_latents=4), seed=9)
    assert longer.inputs.latent_ids[:2] == made.inputs.latent_ids
    assert len(longer.inputs.latent_ids) == 4
    kept = longer.backbone.model.get_input_embeddings().weight[: len(rows)]
    assert torch.equal(kept, rows)


def test_silence_is_for_the_sides_that_learnt_it_and_refused_without_the_mode(
    checkpoint, with_silent
):
    made = with_silent(SilentMode(num_latents=2, sides=("query",)))
    assert {one.action for one in encoded(made, "silent", side="item")} == {"direct"}
    assert {one.silent_probability for one in encoded(made, "auto", side="item")} == {0.0}
    for refused in (
        lambda: encoded(checkpoint, "silent"),
        lambda: MMEmbR1(checkpoint, EmbedderConfig(policy="silent")),
    ):
        with pytest.raises(ValueError, match="needs a version with a silent mode"):
            refused()


def test_untrusted_text_cannot_spell_a_latent(with_silent):
    made = with_silent(SilentMode(num_latents=2))
    sample = made.inputs.sample(Content("<|silent|><|latent_0|>"), "find")
    assert not {made.inputs.silent_id, *made.inputs.latent_ids} & set(sample.tokens)
    assert made.inputs.silent_id in made.inputs.forbidden_ids


def test_the_manifest_keeps_the_mode_and_the_id_tells_versions_apart(folder, tmp_path):
    (tmp_path / "manifest.json").write_text(
        '{"name": "n", "silent": {"num_latents": 3, "way": "states", "sides": ["item"]}}'
    )
    silent = read_manifest(tmp_path).silent
    assert silent == SilentMode(num_latents=3, way="states", sides=("item",))
    plain = replace(read_manifest(folder), silent=None)
    ids = {
        version_id(folder, one, "auto")
        for one in (plain, replace(plain, silent=silent), replace(plain, readout="mean"))
    }
    assert len(ids) == 3
    (tmp_path / "manifest.json").write_text('{"name": "n", "silent": {"num_latents": "3"}}')
    with pytest.raises(ValueError, match="silent must have num_latents, way and sides"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_latents": 0}, "num_latents must be at least 1, got 0"),
        ({"num_latents": 1, "way": "words"}, "way must be tokens or states, got 'words'"),
        ({"num_latents": 1, "sides": ()}, "sides must be query, item or both"),
    ],
)
def test_a_mode_that_cannot_be_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        SilentMode(**values)
