"""Tests for catalog/clips/containers.py: what kind of file it is, and whether its end is there."""

import pytest

from catalog.clips.containers import container_of, gif_size, is_cut_off
from catalog.clips.limits import ClipError
from tests.clips import bar_clip, bar_frame, encoded


@pytest.mark.parametrize(
    ("kind", "container"), [("mp4", "mov"), ("webm", "matroska"), ("gif", "gif")]
)
def test_a_whole_file_is_told_from_every_shorter_one(kind, container):
    clip = bar_clip(kind, num_frames=6)
    assert container_of(clip) == container
    assert not is_cut_off(clip)
    assert not is_cut_off(clip + bytes(8))  # what hangs behind the end is no harm
    for share in (0.5, 0.75, 0.9, 0.99):
        assert is_cut_off(clip[: int(len(clip) * share)])


def test_an_mp4_whose_index_comes_first_is_missed_its_frames():
    clip = encoded([bar_frame(n) for n in range(6)], movflags="faststart")
    assert clip.index(b"moov") < clip.index(b"mdat")
    assert not is_cut_off(clip)
    assert is_cut_off(clip[:-10])


@pytest.mark.parametrize(
    "data",
    [b"", b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/\n", b"ffconcat version 1.0\n", b"RIFF"],
)
def test_a_playlist_and_whatever_else_is_no_clip(data):
    with pytest.raises(ClipError, match="must be an MP4, WebM or GIF"):
        container_of(data)


@pytest.mark.parametrize("head", [b"\x00\x00\x00\x20ftyp", b"\x1a\x45\xdf\xa3", b"GIF89a"])
@pytest.mark.parametrize("rest", [b"", b"\x00" * 40, b"\xff" * 40, b"\x01" * 40])
def test_rubbish_behind_the_first_bytes_ends(head, rest):
    assert is_cut_off(head + rest) in (True, False)


def test_the_size_of_a_gif_is_in_its_head():
    assert gif_size(bar_clip("gif", num_frames=1, size=(48, 64))) == (64, 48)
