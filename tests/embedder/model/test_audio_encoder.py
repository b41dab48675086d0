"""Tests for embedder/model/audio_encoder.py, and for checkpoints that have one."""

import json
import shutil

import numpy as np
import pytest
import torch

from embedder.content import Content, Failure
from embedder.finetune.training.version_folder import write_version
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.audio_encoder import WEIGHTS, AudioEncoder
from embedder.model.checkpoint import load
from embedder.prompting.audio_config import AudioEncoderConfig
from embedder.version import reads_audio
from tests.sounds import tone_file

CONFIG = AudioEncoderConfig(
    num_mel_bins=6, patch_frames=2, merged_patches=3, hidden_size=16, num_heads=2
)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return AudioEncoder(CONFIG, out_size=10).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def sounds():
    return [tone_file(hz=hz, seconds=s, rate_hz=16_000) for hz, s in ((300, 0.3), (900, 0.5))]


def mels(*num_tokens):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(6 * tokens, 6, generator=generator) for tokens in num_tokens]


def test_tokens_are_those_of_torchs_own_transformer(encoder):
    """A second implementation: `torch.nn.TransformerEncoderLayer`, with the same weights."""
    [mel] = mels(4)
    states = encoder.patches(mel.reshape(12, 12))[None]
    place = torch.arange(12)[:, None] / 10_000 ** (torch.arange(8) / 7)
    states = states + torch.cat((place.sin(), place.cos()), dim=1)
    for layer in encoder.layers:
        theirs = torch.nn.TransformerEncoderLayer(
            16, 2, CONFIG.intermediate_size, 0.0, "gelu", batch_first=True, norm_first=True
        ).eval()
        attention = {"in_proj_weight": layer.qkv.weight, "in_proj_bias": layer.qkv.bias}
        theirs.self_attn.load_state_dict(
            attention | {"out_proj.weight": layer.out.weight, "out_proj.bias": layer.out.bias}
        )
        for name, ours in (
            *(("norm1", layer.norm1), ("norm2", layer.norm2)),
            *(("linear1", layer.mlp[0]), ("linear2", layer.mlp[2])),
        ):
            getattr(theirs, name).load_state_dict(ours.state_dict())
        states = theirs(states)
    expected = encoder.projector(encoder.norm(states[0]).reshape(4, -1))
    torch.testing.assert_close(encoder.encode([mel]), expected, rtol=1e-5, atol=1e-6)


def test_tokens_come_in_the_order_of_the_sounds_and_depend_on_no_other(encoder):
    given = mels(3, 1, 3, 2)
    together = encoder.encode(given).split([3, 1, 3, 2])
    for mel, tokens in zip(given, together, strict=True):
        torch.testing.assert_close(tokens, encoder.encode([mel]), rtol=1e-5, atol=1e-6)


def test_a_vector_does_not_depend_on_its_batch_and_hears_the_sound(hearing, sounds, image):
    contents = [
        Content("a bell"),
        Content("a bell", audio=sounds[0]),
        Content(audio=sounds[1]),
        Content("", image, audio=sounds[0]),
        Content("a longer text beside an image and a sound", image, audio=sounds[1]),
    ]
    backbone, inputs = hearing.backbone, hearing.inputs
    samples = [inputs.sample(content, "find") for content in contents]
    together = backbone.last_states(inputs.prompts(samples, device=backbone.device))
    for sample, state in zip(samples, together, strict=True):
        [alone] = backbone.last_states(inputs.prompts([sample], device=backbone.device))
        scale = alone.abs().max().item()
        torch.testing.assert_close(state, alone, rtol=1e-5, atol=1e-5 * scale)
    other = inputs.sample(Content("a bell", audio=tone_file(hz=1_500, seconds=0.3)), "find")
    assert other.tokens == samples[1].tokens
    [state] = backbone.last_states(inputs.prompts([other], device=backbone.device))
    assert (state - together[1]).abs().max() > 1e-3 * state.abs().max()


def test_states_are_those_of_transformers_given_the_tokens_as_embeddings(hearing, sounds):
    backbone, inputs = hearing.backbone, hearing.inputs
    sample = inputs.sample(Content("a bell", audio=sounds[0]), "find")
    ids = torch.tensor([sample.tokens])
    embeddings = backbone.model.get_input_embeddings()(ids)
    is_audio = ids[0] == inputs.tokenizer.convert_tokens_to_ids("<|audio_pad|>")
    embeddings[0, is_audio] = backbone.audio.encode([torch.from_numpy(sample.mel_FN)])
    with torch.no_grad():
        theirs = backbone.model.model.language_model(inputs_embeds=embeddings)
    expected = theirs.last_hidden_state[0, -1]
    [state] = backbone.last_states(inputs.prompts([sample], device=backbone.device))
    torch.testing.assert_close(state, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_what_is_no_sound_is_read_as_before_the_encoder_came(hearing, folder, image):
    contents = [Content("3 red mugs"), Content("a mug", image)]
    before, after = load(str(folder)), hearing
    assert before.backbone.audio is None
    for content in contents:
        states = []
        for one in (before, after):
            sample = one.inputs.sample(content, "find")
            prompts = one.inputs.prompts([sample], device=one.backbone.device)
            states.append(one.backbone.last_states(prompts))
        torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.fixture(scope="module")
def written(hearing, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hearing")
    write_version(hearing.backbone, hearing, folder, manifest=hearing.manifest)
    return folder


def test_a_version_with_an_audio_encoder_is_read_as_it_was_written(
    hearing, written, folder, sounds
):
    assert reads_audio(written)
    assert not reads_audio(folder)
    loaded = load(str(written))
    assert loaded.backbone.audio.config == hearing.backbone.audio.config
    states = []
    for one in (hearing, loaded, loaded.read_as(loaded.manifest)):
        prompts = one.inputs.prompts(
            [one.inputs.sample(Content(audio=sounds[0]), "find")], device=one.backbone.device
        )
        states.append(one.backbone.last_states(prompts))
    torch.testing.assert_close(states[1], states[0], rtol=0, atol=0)
    torch.testing.assert_close(states[2], states[0], rtol=0, atol=0)
    assert json.loads((written / "config.json").read_text())["audio_encoder"]["num_mel_bins"] == 32


def test_a_version_that_lost_its_encoders_weights_is_refused(written, tmp_path):
    shutil.copytree(written, tmp_path / "v")
    (tmp_path / "v" / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=f"must hold {WEIGHTS}"):
        load(str(tmp_path / "v"))


def test_the_embedder_hears_and_refuses_what_is_no_sound(written, sounds):
    embedder = MMEmbR1.open(EmbedderConfig(model=str(written), policy="never", num_threads=1))
    contents = [Content(audio=sound) for sound in sounds] + [Content(audio=b"none")]
    answers = dict(embedder.stream_items(contents))
    assert isinstance(answers[2], Failure)
    assert "must be a WAV" in answers[2].reason
    first, second = answers[0].vector, answers[1].vector
    assert np.linalg.norm(first) == pytest.approx(1)
    assert not np.allclose(first, second, atol=1e-3)
    assert embedder.refusal(contents[0]) is None
    assert "must be a WAV" in embedder.refusal(contents[2])


def test_an_embedder_that_hears_nothing_says_so(folder, sounds):
    embedder = MMEmbR1.open(EmbedderConfig(model=str(folder), policy="never", num_threads=1))
    alone, beside = Content(audio=sounds[0]), Content("a bell", audio=sounds[0])
    assert embedder.refusal(beside) is None
    assert embedder.refusal(alone) == (
        "nano reads no sounds, and there is one without a text, an image or a clip"
    )
    answers = dict(embedder.stream_items([alone, beside, Content("a bell")]))
    assert "reads no sounds" in answers[0].reason
    np.testing.assert_allclose(answers[1].vector, answers[2].vector, atol=1e-6)
