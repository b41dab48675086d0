"""The files that a sound may come in: told by their first bytes, and whether their end is there."""

from typing import Literal

from catalog.audio.limits import AudioError

Container = Literal["wav", "flac", "ogg", "mp3"]
"""As FFmpeg calls them."""

_OPEN_END = 0xFFFFFFFF
"""Size of a WAV's samples where whoever wrote it did not know it yet."""

_PAGE, _LAST_PAGE = b"OggS", 4


def container_of(data: bytes) -> Container:
    """Return the container that the first bytes tell of.

    Raises:
        AudioError: of none that is taken; a list of other files or addresses is none.
    """
    if data.startswith(b"RIFF") and data[8:12] == b"WAVE":
        return "wav"
    if data.startswith(b"fLaC"):
        return "flac"
    if data.startswith(_PAGE):
        return "ogg"
    if data.startswith(b"ID3") or _is_mp3_frame(data[:2]):
        return "mp3"
    raise AudioError(f"a sound must be a WAV, FLAC, Ogg or MP3 file, got {data[:8]!r} at its start")


def is_cut_off(data: bytes) -> bool:
    """Return whether a file says that there is more of it than there is.

    A FLAC and an MP3 say so by how many samples or frames they have; see `num_mp3_frames`.
    """
    match container_of(data):
        case "wav":
            return _samples_end(data) > len(data)
        case "ogg":
            return not _last_page_ends(data)
        case _:
            return False


def num_mp3_frames(data: bytes) -> int | None:
    """Return how many frames an MP3 says that it has; None where it does not say.

    The first frame of most files holds no sound but this number, in a header named Xing or Info.
    """
    start = 10 + _synchsafe(data[6:10]) if data.startswith(b"ID3") else 0
    frame = data[start : start + 200]
    for name in (b"Xing", b"Info"):
        at = frame.find(name)
        if at > 0 and int.from_bytes(frame[at + 4 : at + 8]) & 1:
            return int.from_bytes(frame[at + 8 : at + 12])
    return None


def _is_mp3_frame(head: bytes) -> bool:
    """Eleven bits of a frame, and those of layer III."""
    return len(head) == 2 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2


def _synchsafe(size: bytes) -> int:
    value = 0
    for byte in size:
        value = value << 7 | byte & 0x7F
    return value


def _samples_end(data: bytes) -> int:
    """Return where the samples of a WAV end by its own words; its size when it has none."""
    start = 12
    while start + 8 <= len(data):
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        if data[start : start + 4] == b"data":
            return len(data) if size == _OPEN_END else start + 8 + size
        start += 8 + size + size % 2
    return len(data)


def _last_page_ends(data: bytes) -> bool:
    """Return whether the last page of an Ogg is whole, and says that it is the last."""
    at = data.rfind(_PAGE)
    num_segments = data[at + 26] if at + 26 < len(data) else 0
    sizes = data[at + 27 : at + 27 + num_segments]
    is_whole = len(sizes) == num_segments and at + 27 + num_segments + sum(sizes) <= len(data)
    return is_whole and at + 5 < len(data) and bool(data[at + 5] & _LAST_PAGE)
