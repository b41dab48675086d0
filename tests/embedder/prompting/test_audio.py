"""Tests for sounds in a prompt: the spectrogram, their place, and models that hear nothing."""

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from catalog.audio.limits import AudioError
from embedder.content import Content, nothing_left
from embedder.prompting.audio import AudioReader, log_mel
from embedder.prompting.audio_config import AudioEncoderConfig
from tests.sounds import encoded, tone, tone_file

CONFIG = AudioEncoderConfig(num_mel_bins=32, patch_frames=4, merged_patches=2)


@pytest.fixture(scope="module")
def sound():
    return tone_file(seconds=0.5, rate_hz=16_000)


@pytest.mark.parametrize(("num_samples", "num_bins"), [(8_000, 80), (7_999, 128), (401, 64)])
def test_the_spectrogram_is_whispers(num_samples, num_bins):
    rng = np.random.default_rng(0)
    samples = tone(700.0, rate_hz=16_000)[:num_samples] + 0.1 * rng.standard_normal(num_samples)
    samples = np.clip(samples, -1, 1).astype(np.float32)
    samples[: num_samples // 3] = 0  # silence is where the logarithm is cut
    theirs = WhisperFeatureExtractor(feature_size=num_bins)(
        samples, sampling_rate=16_000, max_length=num_samples, return_tensors="np"
    )["input_features"][0].T
    ours = log_mel(samples, num_bins=num_bins)
    assert ours.shape == (num_samples // 160, num_bins)
    np.testing.assert_allclose(ours, theirs[: len(ours)], atol=1e-4)  # theirs are of float32


def test_a_sound_is_filled_up_to_whole_tokens(ear):
    reader = ear.audio
    for seconds, num_tokens in ((0.01, 1), (0.08, 1), (0.081, 2), (0.5, 7)):
        mel = reader.open_audio(tone_file(seconds=seconds, rate_hz=16_000))
        assert mel.shape == (num_tokens * CONFIG.token_frames, CONFIG.num_mel_bins)
        assert reader.num_tokens(mel) == num_tokens


def test_a_sound_stands_behind_the_images_and_before_the_instruction(ear, sound, image):
    sample = ear.sample(Content("a bell", image, audio=sound), "find")
    text = ear.tokenizer.decode(sample.tokens)
    assert text.count("<|audio_pad|>") == 7
    assert "<|vision_end|><|audio_start|><|audio_pad|>" in text
    assert "<|audio_pad|><|audio_end|>find\na bell" in text


def test_a_text_beside_a_sound_is_cut_where_it_is_cut_without(ear, sound):
    words = "kites " * 200
    alone, beside = (
        ear.tokenizer.decode(ear.sample(Content(words, audio=one), "find").tokens)
        for one in (None, sound)
    )
    assert beside.count(" kites") == alone.count(" kites") < 200


def test_no_more_seconds_are_read_than_may_be(ear, sound):
    short = ear.with_audio(CONFIG, max_s=0.16)
    assert short.seen(Content(audio=sound)).num_tokens == 2


def test_a_sound_in_a_text_is_text(ear, sound):
    sample = ear.sample(Content("<|audio_pad|>", audio=sound), "find")
    assert ear.tokenizer.decode(sample.tokens).count("<|audio_pad|>") == 7


def test_a_sound_that_cannot_be_read_is_said_to_be_none(ear):
    with pytest.raises(AudioError, match="must be a WAV, FLAC, Ogg or MP3"):
        ear.sample(Content("bells", audio=b"no sound"), "find")
    assert "must be a WAV" in ear.audio.problem(b"no sound")
    assert ear.audio.problem(None) is None


def test_a_model_that_hears_nothing_passes_over_a_sound_beside_what_it_reads(inputs, sound, image):
    for content in (Content("a bell"), Content("", image)):
        beside = Content(content.text, content.image, audio=sound)
        assert inputs.sample(beside, "find").tokens == inputs.sample(content, "find").tokens
    with pytest.raises(AudioError, match="reads no sounds, and there is one without a text, an im"):
        inputs.sample(Content(audio=sound), "find")


def test_what_is_left_of_a_content_where_sounds_are_not_read():
    assert nothing_left(Content(), "x") is None  # an empty text is one
    assert nothing_left(Content("a", audio=b"s"), "x") is None
    assert nothing_left(Content("", b"i", audio=b"s"), "x") is None
    assert nothing_left(Content(clip=b"c", audio=b"s"), "x", reads_clips=True) is None
    alone = nothing_left(Content(audio=b"s"), "x")
    assert alone == "x reads no sounds, and there is one without a text or an image"
    assert "x reads no clips" in nothing_left(Content(clip=b"c", audio=b"s"), "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 0}, "num_layers must be a whole number from 1 on"),
        ({"hidden_size": 130}, "hidden_size must be an even multiple of num_heads"),
        ({"patch_frames": 1, "merged_patches": 2}, "must be at least 3"),
    ],
)
def test_an_encoder_that_cannot_be_built_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        AudioEncoderConfig(**changes)


def test_a_configuration_is_read_as_it_was_written():
    assert AudioEncoderConfig.told(CONFIG.as_json()) == CONFIG
    assert AudioEncoderConfig.told(None) is None
    with pytest.raises(ValueError, match="got depth"):
        AudioEncoderConfig.told({"depth": 3})


def test_a_hostile_sound_is_read_within_limits_of_its_own(ear):
    stereo = encoded(tone(seconds=0.1), tone(seconds=0.1))
    assert isinstance(ear.audio, AudioReader)
    assert len(ear.audio.open_audio(stereo)) == 2 * CONFIG.token_frames


@pytest.fixture(scope="module")
def ear(hearing):
    return hearing.inputs
