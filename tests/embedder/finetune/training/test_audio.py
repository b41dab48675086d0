"""Tests for embedder/finetune/training/audio.py: what a checkpoint with a new encoder can learn."""

import pytest
import torch

from embedder.content import Content
from embedder.finetune.training.adapters import make_trainable
from embedder.finetune.training.audio import with_audio_encoder
from embedder.finetune.training.config import Lora
from embedder.model.checkpoint import load
from embedder.prompting.audio_config import AudioEncoderConfig
from tests.sounds import tone_file

CONFIG = AudioEncoderConfig(num_mel_bins=16, patch_frames=4, merged_patches=2, num_layers=1)


@pytest.fixture
def made(folder):
    return with_audio_encoder(load(str(folder)), CONFIG, seed=3)


def trained_names(backbone):
    return {name for name, weight in backbone.named_parameters() if weight.requires_grad}


def test_a_second_encoder_is_refused(made):
    with pytest.raises(ValueError, match="has an audio encoder"):
        with_audio_encoder(made, CONFIG, seed=3)


def test_the_new_tokens_begin_as_those_of_an_image(made):
    ids = made.inputs.tokenizer.convert_tokens_to_ids
    for kind in ("start", "pad", "end"):
        image = "<|image_pad|>" if kind == "pad" else f"<|vision_{kind}|>"
        rows = made.backbone.model.get_input_embeddings().weight[
            [ids(f"<|audio_{kind}|>"), ids(image)]
        ]
        assert torch.equal(rows[0], rows[1])


def test_the_seed_decides_the_weights_and_nothing_else_is_drawn(folder, made):
    state = torch.random.get_rng_state()
    again, other = (with_audio_encoder(load(str(folder)), CONFIG, seed=n) for n in (3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [one.backbone.audio.patches.weight for one in (made, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("lora", [None, Lora(rank=2, alpha=4)])
@pytest.mark.parametrize("trains", [True, False])
def test_the_encoder_is_trained_where_it_is_asked_for(made, lora, trains):
    make_trainable(
        made.backbone,
        made.inputs,
        lora=lora,
        train_vision_encoder=False,
        train_audio_encoder=trains,
        seed=0,
    )
    found = trained_names(made.backbone)
    assert any(name.startswith("audio.") for name in found) is trains
    assert any("language_model" in name for name in found)


def test_every_weight_of_the_encoder_gets_a_gradient_from_a_vector(made):
    backbone, inputs = made.backbone, made.inputs
    backbone.audio.requires_grad_(True)
    sound = tone_file(seconds=0.3, rate_hz=16_000)
    sample = inputs.sample(Content("a bell", audio=sound), "find")
    sample = sample.extended([inputs.direct_id, inputs.emb_id])
    prompts = inputs.prompts([sample], device=backbone.device)
    backbone.end_vectors(prompts)[0, :5].sum().backward()
    for name, weight in backbone.audio.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name
