"""Tests for catalog/audio/decoding.py: the right samples, and nothing beyond the limits."""

import io
import struct
import wave

import av
import numpy as np
import pytest
from scipy.signal import resample_poly

from catalog.audio.containers import num_mp3_frames
from catalog.audio.decoding import decode
from catalog.audio.limits import AudioError, AudioLimits, AudioSampling
from tests.clips import bar_clip
from tests.sounds import encoded, pitch_hz, tone, tone_file

LIMITS = AudioLimits()
ALL = AudioSampling()


def refusal(data, *, sampling=ALL, **limits):
    with pytest.raises(AudioError) as caught:
        decode(data, AudioLimits(**limits), sampling)
    assert caught.value.stage == "media"
    return str(caught.value)


def silence(*, num_channels, rate_hz):
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(num_channels)
        wav.setsampwidth(2)
        wav.setframerate(rate_hz)
        wav.writeframes(bytes(2 * num_channels * 1_000))
    return file.getvalue()


def test_samples_of_the_right_rate_are_those_of_the_file():
    samples = np.array([0, 1, -32768, 32767, -5], np.int16)
    wav = encoded(samples.astype(np.float32) / 32768, rate_hz=16_000)
    np.testing.assert_array_equal(decode(wav, LIMITS, ALL).samples, samples / np.float32(32768))


@pytest.mark.parametrize("kind", ["wav", "wav of floats", "flac", "ogg", "mp3"])
def test_every_container_gives_the_tone_that_it_holds(kind):
    decoded = decode(tone_file(kind, hz=1_000.0, seconds=0.5), LIMITS, ALL)
    assert decoded.sample_rate_hz == 16_000
    assert len(decoded.samples) == pytest.approx(8_000, abs=120)  # Opus pads its last frame
    assert pitch_hz(decoded.samples, 16_000) == pytest.approx(1_000, abs=3)
    loudest = np.abs(decoded.samples[2_000:6_000]).max()
    assert loudest == pytest.approx(0.5, abs=0.03)  # an MP3 is never quite what it was


@pytest.mark.parametrize("rate_hz", [44_100, 8_000])
def test_resampling_equals_scipys_where_neither_filter_cuts(rate_hz):
    heard = tone(300.0, rate_hz=rate_hz) * 0.5 + tone(2_000.0, rate_hz=rate_hz) * 0.3
    decoded = decode(encoded(heard, kind="wav of floats", rate_hz=rate_hz), LIMITS, ALL)
    expected = resample_poly(heard.astype(np.float64), 160, rate_hz // 100, window=("kaiser", 12.0))
    assert len(decoded.samples) == pytest.approx(16_000, abs=2)
    inner = slice(800, 15_000)  # at its ends each takes the sound to go on in a way of its own
    # Filters of other lengths: they agree to a thousandth of full scale.
    np.testing.assert_allclose(decoded.samples[inner], expected[inner], atol=1e-3)


def test_what_a_sixteen_thousandth_cannot_hold_is_filtered_and_not_folded():
    decoded = decode(encoded(tone(11_000.0), kind="wav of floats"), LIMITS, ALL)
    assert np.abs(decoded.samples[800:-800]).max() < 0.005  # folded it would be a tone of 5 kHz


def test_channels_are_mixed_to_their_mean():
    left, right = tone(440.0, rate_hz=16_000), tone(880.0, rate_hz=16_000)
    stereo = decode(encoded(left, right, kind="wav of floats", rate_hz=16_000), LIMITS, ALL)
    np.testing.assert_allclose(stereo.samples, (left + right) / 2, atol=1e-6)
    opposite = decode(encoded(left, -left, kind="wav of floats", rate_hz=16_000), LIMITS, ALL)
    assert not opposite.samples.any()


def test_a_sound_has_no_seam_where_its_pieces_meet():
    rng = np.random.default_rng(0)
    heard = rng.integers(-32768, 32768, 3 * 44_100 + 7).astype(np.int16)
    wav = encoded(heard.astype(np.float32) / 32768, rate_hz=44_100)
    frame = av.AudioFrame.from_ndarray(heard[None] / np.float32(32768), "flt", "mono")
    frame.sample_rate = 44_100
    resampler = av.AudioResampler("flt", "mono", 16_000)
    whole = [*resampler.resample(frame), *resampler.resample(None)]
    expected = np.concatenate([part.to_ndarray()[0] for part in whole])
    np.testing.assert_array_equal(decode(wav, LIMITS, ALL).samples, np.clip(expected, -1, 1))


def test_a_stereo_sound_behind_a_mono_one_is_mixed_by_itself():
    """Of an MP3, any frame of which may have channels of its own."""
    options = {"write_xing": "0", "id3v2_version": "0"}
    left, right = tone(500.0, seconds=0.5), tone(900.0, seconds=0.5)
    mono, stereo = (
        encoded(*channels, kind="mp3", **options) for channels in ([left], [left, -right])
    )
    both = decode(mono + stereo, LIMITS, ALL).samples
    assert pitch_hz(both[2_000:6_000], 16_000) == pytest.approx(500, abs=5)
    later = np.abs(np.fft.rfft(both[-6_000:-2_000]))  # 4 Hz each
    assert later[125] == pytest.approx(later[225], rel=0.05)
    assert len(both) == len(decode(mono, LIMITS, ALL).samples) + len(
        decode(stereo, LIMITS, ALL).samples
    )


def test_no_more_is_decoded_than_a_second_beyond_what_is_read():
    heard = tone(seconds=4.0)
    heard[-1] = np.nan  # nobody looks at it
    sound = encoded(heard, kind="wav of floats")
    assert len(decode(sound, LIMITS, AudioSampling(max_s=1.5)).samples) == 24_000
    assert "finite" in refusal(sound)


def test_no_more_is_read_than_may_be():
    decoded = decode(tone_file(seconds=3.0), LIMITS, AudioSampling(max_s=1.25))
    assert len(decoded.samples) == 20_000


def test_what_is_louder_than_full_scale_is_cut_to_it():
    loud = encoded(tone(rate_hz=16_000, loudness=30.0), kind="wav of floats", rate_hz=16_000)
    assert np.abs(decode(loud, LIMITS, ALL).samples).max() == 1.0


def test_what_is_too_loud_is_cut_before_it_is_resampled_as_whoever_plays_it_cuts_it():
    heard = tone(loudness=30.0)
    loud, cut = (
        decode(encoded(samples, kind="wav of floats"), LIMITS, ALL).samples
        for samples in (heard, np.clip(heard, -1, 1))
    )
    np.testing.assert_array_equal(loud, cut)


def test_a_sound_without_a_sample_is_refused():
    wav = tone_file()
    empty = wav[: wav.index(b"data") + 4] + bytes(4)
    assert "at least one sample" in refusal(empty)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(bad):
    heard = tone()
    heard[20_000] = bad
    assert "finite" in refusal(encoded(heard, kind="wav of floats"))


@pytest.mark.parametrize("kind", ["wav", "wav of floats", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("kept", [0.9, 0.5])
@pytest.mark.parametrize("max_s", [1.0, 30.0])
def test_a_sound_that_is_cut_off_is_refused_however_much_of_it_is_read(kind, kept, max_s):
    sound = tone_file(kind, seconds=3.0)
    cut = sound[: int(len(sound) * kept)]
    assert "must be whole" in refusal(cut, sampling=AudioSampling(max_s=max_s))


def test_an_ogg_that_lacks_whole_pages_is_refused():
    sound = tone_file("ogg", seconds=8.0)
    last = sound.rindex(b"OggS")
    assert last > 1_000
    assert "must be whole" in refusal(sound[:last])


def test_an_mp3_says_how_many_frames_it_has():
    assert num_mp3_frames(tone_file("mp3", rate_hz=44_100)) == 40  # 1,152 samples each, and priming
    assert num_mp3_frames(b"\xff\xfb\x90\x00" + bytes(400)) is None


def test_too_many_channels_and_samples_a_second_are_refused():
    assert "at most 6 channels, got 8" in refusal(silence(num_channels=8, rate_hz=48_000))
    assert "at most 6 channels, got 8" in refusal(silence(num_channels=8, rate_hz=192_000))
    fast = tone_file(rate_hz=192_000, seconds=0.1)
    assert "4000 to 96000 samples a second, got 192000" in refusal(fast)
    assert decode(encoded(*[tone(seconds=0.1)] * 6, kind="wav"), LIMITS, ALL)
    # Before the packets are counted, of which there may be many.
    assert "got 192000" in refusal(fast, max_duration_s=0.001)


def test_a_sound_that_lasts_longer_than_may_be_is_refused_by_its_packets():
    assert "at most 1.5 s" in refusal(tone_file("mp3", seconds=2.0), max_duration_s=1.5)


def test_ten_hours_are_refused():
    quiet = encoded(np.zeros(8_000, np.float32), kind="mp3", rate_hz=8_000)
    with av.open(io.BytesIO(quiet)) as container:
        frame = [bytes(packet) for packet in container.demux() if packet.size][3]
    long = frame * round(36_000 / 0.072)  # 576 samples each
    assert len(long) < 50_000_000
    assert "at most 600 s, got 600." in refusal(long)


def test_a_header_that_promises_hours_is_cut_off():
    wav = bytearray(tone_file(seconds=0.1))
    at = wav.index(b"data") + 4
    wav[at : at + 4] = struct.pack("<I", 2_000_000_000)
    assert "must be whole" in refusal(bytes(wav))


@pytest.mark.parametrize(
    "data",
    [b"<!DOCTYPE html><html>", b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n", b"", b"\xff"],
)
def test_what_is_no_sound_is_refused_by_its_first_bytes(data):
    assert "must be a WAV, FLAC, Ogg or MP3" in refusal(data)


def test_rubbish_behind_the_right_first_bytes_is_refused():
    page = b"<!DOCTYPE html>" + b"<p>not found</p>" * 200
    for start in (
        b"RIFF\x00\x10\x00\x00WAVE",
        b"fLaC",
        b"OggS",
        b"ID3\x04\x00\x00\x00\x00\x00\x00",
    ):
        refusal(start + page)


def test_a_clip_is_no_sound():
    assert "must be a WAV, FLAC, Ogg or MP3" in refusal(bar_clip(num_frames=2))


def test_a_file_with_more_bytes_than_may_be_is_refused():
    assert "at most 100 bytes" in refusal(tone_file(), max_bytes=100)


def test_whoever_takes_too_long_is_stopped():
    assert "within 1e-06 s" in refusal(tone_file(), decoding_s=1e-6)


def test_damaged_sounds_are_decoded_or_refused_and_nothing_else():
    rng = np.random.default_rng(0)
    for kind in ("wav of floats", "flac", "ogg", "mp3"):
        sound = tone_file(kind, seconds=0.3)
        for _ in range(10):
            damaged = bytearray(sound)
            start = int(rng.integers(12, len(sound)))
            damaged[start : start + 40] = rng.bytes(len(damaged[start : start + 40]))
            try:
                decoded = decode(bytes(damaged), LIMITS, ALL)
            except AudioError:
                continue
            assert np.abs(decoded.samples).max() <= 1
