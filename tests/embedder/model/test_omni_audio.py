"""Tests for embedder/model/omni_audio.py, against transformers' own forward of a omni."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    Qwen3OmniMoeConfig,
    Qwen3OmniMoeForConditionalGeneration,
    Qwen3OmniMoeThinkerConfig,
    Qwen3OmniMoeThinkerForConditionalGeneration,
)
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    _get_feat_extract_output_lengths,
)

from embedder.content import Content
from embedder.finetune.training.adapters import make_trainable
from embedder.finetune.training.config import Lora
from embedder.finetune.training.version_folder import write_version
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load
from embedder.nano import architecture
from embedder.prompting import template
from embedder.prompting.audio_config import OmniAudioConfig
from embedder.version import reads_audio
from tests.sounds import tone_file

AUDIO_TOKENS = [template.AUDIO_START, template.AUDIO_PAD, template.AUDIO_END]


@pytest.fixture(scope="module")
def words():
    tokenizer = architecture.build_tokenizer(0)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": AUDIO_TOKENS}, replace_extra_special_tokens=False
    )
    return tokenizer


def omni_config(words):
    token = words.convert_tokens_to_ids
    attention = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
    return Qwen3OmniMoeThinkerConfig(
        audio_config={
            **{"num_mel_bins": 16, "encoder_layers": 1, "encoder_attention_heads": 2},
            **{"d_model": 16, "encoder_ffn_dim": 32, "output_dim": 32},
            **{"n_window_infer": 200, "downsample_hidden_size": 8},
        },
        vision_config={
            **{"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2},
            **{"patch_size": 16, "spatial_merge_size": 2, "out_hidden_size": 32},
            **{"num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        },
        text_config={
            **{"vocab_size": len(words), "hidden_size": 32, "num_hidden_layers": 2},
            **{"max_position_embeddings": 512, **attention, **experts},
            "rope_parameters": {
                **{"rope_type": "default", "rope_theta": 10_000.0},
                **{"mrope_section": [4, 2, 2], "mrope_interleaved": True},
            },
        },
        audio_token_id=token(template.AUDIO_PAD),
        audio_start_token_id=token(template.AUDIO_START),
        image_token_id=token(template.IMAGE_PAD),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token(template.IMAGE_START),
    )


def written(network, words, folder):
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.ndim > 1:  # larger than they are drawn, so that every state differs
            parameter.data.normal_(0, 0.15, generator=generator)
    network.save_pretrained(folder)
    words.save_pretrained(folder)
    architecture.build_image_processor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(words, tmp_path_factory):
    network = Qwen3OmniMoeThinkerForConditionalGeneration(omni_config(words))
    return written(network, words, tmp_path_factory.mktemp("omni"))


@pytest.fixture(scope="module")
def omni(folder):
    return load(str(folder))


@pytest.fixture(scope="module")
def sounds():
    return [tone_file(hz=hz, seconds=s, rate_hz=16_000) for hz, s in ((400, 0.5), (900, 2.35))]


def image():
    buffer = io.BytesIO()
    Image.effect_noise((96, 64), 60).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def plain(checkpoint, sample):
    """The last state by transformers' own forward."""
    batch = checkpoint.inputs.batch([sample])
    given = {}
    if batch.patches_PV is not None:
        given |= {"pixel_values": batch.patches_PV, "image_grid_thw": batch.grids}
    if sample.mel_FN is not None:
        mel = torch.from_numpy(sample.mel_FN).T[None]
        given |= {"input_features": mel}
        given |= {"feature_attention_mask": torch.ones(1, mel.shape[2], dtype=torch.long)}
    with torch.no_grad():
        output = checkpoint.backbone.model.model(
            input_ids=batch.input_ids_BL, attention_mask=batch.attention_mask_BL, **given
        )
    return output.last_hidden_state[0, -1]


@pytest.mark.parametrize("kind", ["text", "image", "short", "long", "all"])
def test_a_state_is_that_of_transformers(omni, sounds, kind):
    content = {
        "text": Content("a bell"),
        "image": Content("a bell", image()),
        "short": Content("a bell", audio=sounds[0]),
        "long": Content("", audio=sounds[1]),
        "all": Content("a bell", image(), audio=sounds[1]),
    }[kind]
    sample = omni.inputs.sample(content, "find")
    expected = plain(omni, sample)
    [state] = omni.backbone.last_states(omni.inputs.prompts([sample], device=omni.backbone.device))
    scale = expected.abs().max().item()
    torch.testing.assert_close(state, expected, rtol=1e-5, atol=1e-5 * scale)


def test_a_sound_does_not_depend_on_its_batch(omni, sounds):
    contents = [Content("a bell", audio=sound) for sound in sounds] + [Content("a bell")]
    samples = [omni.inputs.sample(content, "find") for content in contents]
    backbone, inputs = omni.backbone, omni.inputs
    together = backbone.last_states(inputs.prompts(samples, device=backbone.device))
    for sample, state in zip(samples, together, strict=True):
        [alone] = backbone.last_states(inputs.prompts([sample], device=backbone.device))
        scale = alone.abs().max().item()
        torch.testing.assert_close(state, alone, rtol=1e-5, atol=1e-5 * scale)


def test_a_sound_has_as_many_tokens_as_transformers_gives_it():
    config = OmniAudioConfig(num_mel_bins=128, chunk_frames=100)
    frames = np.arange(3, 1_000)
    theirs = _get_feat_extract_output_lengths(torch.from_numpy(frames))
    assert [config.num_tokens(int(number)) for number in frames] == theirs.tolist()
    assert [config.num_filled(number) for number in (1, 400, 481)] == [480, 480, 640]


def test_the_part_of_a_whole_omni_that_reads_is_read(words, omni, folder, sounds, tmp_path):
    whole = Qwen3OmniMoeForConditionalGeneration(
        Qwen3OmniMoeConfig(thinker_config=omni_config(words).to_dict(), enable_audio_output=False)
    )
    whole.thinker.load_state_dict(omni.backbone.model.state_dict())
    path = tmp_path / "omni"
    whole.save_pretrained(path)
    words.save_pretrained(path)
    architecture.build_image_processor().save_pretrained(path)
    loaded = load(str(path))
    assert reads_audio(path)
    assert reads_audio(folder)
    states = []
    for one in (omni, loaded):
        sample = one.inputs.sample(Content("a bell", audio=sounds[0]), "find")
        prompts = one.inputs.prompts([sample], device=one.backbone.device)
        states.append(one.backbone.last_states(prompts))
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.mark.parametrize("policy", ["never", pytest.param("always", marks=pytest.mark.slow)])
def test_an_omni_embeds_sounds_and_reasons_about_them(folder, sounds, policy):
    embedder = MMEmbR1.open(EmbedderConfig(model=str(folder), policy=policy, num_threads=1))
    contents = [Content(audio=sounds[0]), Content("a bell"), Content("a bell", audio=sounds[1])]
    together = embedder.encode_items(contents)
    for content, encoding in zip(contents, together, strict=True):
        [alone] = embedder.encode_items([content])
        np.testing.assert_allclose(encoding.vector, alone.vector, atol=1e-5)
        assert (encoding.rationale_tokens > 0) is (policy == "always")
    assert abs(together[1].vector - together[2].vector).max() > 1e-3


def test_a_version_of_an_omni_is_read_as_it_was_written(omni, sounds, tmp_path):
    write_version(omni.backbone, omni, tmp_path / "v", manifest=omni.manifest)
    loaded = load(str(tmp_path / "v"))
    sample = omni.inputs.sample(Content(audio=sounds[0]), "find")
    states = [
        one.backbone.last_states(one.inputs.prompts([sample], device=one.backbone.device))
        for one in (omni, loaded)
    ]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert not list((tmp_path / "v").glob("audio_encoder*"))


@pytest.mark.filterwarnings("ignore:The following .*_pattern keys did not:RuntimeWarning")
@pytest.mark.parametrize(
    ("lora", "trains", "is_trained"),
    [(None, True, True), (None, False, False), (Lora(rank=2, alpha=4), True, False)],
)
def test_the_encoder_that_came_with_it_is_trained_where_all_weights_are(
    folder, lora, trains, is_trained
):
    checkpoint = load(str(folder))
    make_trainable(
        checkpoint.backbone,
        checkpoint.inputs,
        lora=lora,
        train_vision_encoder=False,
        train_audio_encoder=trains,
        seed=0,
    )
    weights = checkpoint.backbone.model.model.audio_tower.parameters()
    assert {weight.requires_grad for weight in weights} == {is_trained}
