"""The files that a clip may come in: told by their first bytes, and whether their end is there."""

from typing import Literal

from catalog.clips.limits import ClipError

Container = Literal["mov", "matroska", "gif"]
"""As FFmpeg calls them: MP4 and QuickTime, WebM and Matroska, GIF."""

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"


def container_of(data: bytes) -> Container:
    """Return the container that the first bytes tell of.

    Raises:
        ClipError: of none that is taken; a list of other files or addresses is none.
    """
    if data[4:8] == b"ftyp":
        return "mov"
    if data.startswith(_EBML):
        return "matroska"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    raise ClipError(f"a clip must be an MP4, WebM or GIF file, got {data[:8]!r} at its start")


def is_cut_off(data: bytes) -> bool:
    """Return whether a file says that there is more of it than there is."""
    match container_of(data):
        case "mov":
            return _last_box_ends(data) > len(data)
        case "matroska":
            return _segment_ends(data) > len(data)
        case "gif":
            return not data.rstrip(b"\x00\r\n ").endswith(b";")


def gif_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a GIF."""
    return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")


def _last_box_ends(data: bytes) -> int:
    """Return where the last box of an MP4 ends by its own words."""
    start = 0
    while start + 8 <= len(data):
        size = int.from_bytes(data[start : start + 4])
        if size == 1:
            size = int.from_bytes(data[start + 8 : start + 16])
        if size < 8:  # 0: to the end of the file; less than its own header: rubbish behind the end
            return start
        start += size
    return start


def _segment_ends(data: bytes) -> int:
    """Return where the segment of a WebM ends by its own words; 0 when it does not say."""
    size, start = _ebml_size(data, len(_EBML))
    start += size or 0
    if data[start : start + 4] != _SEGMENT:
        return 0
    size, start = _ebml_size(data, start + 4)
    return 0 if size is None else start + size


def _ebml_size(data: bytes, start: int) -> tuple[int | None, int]:
    """Return the size that an EBML element gives, None for an open end, and where that is over."""
    first = data[start] if start < len(data) else 0
    length = 9 - first.bit_length()
    if not first:
        return None, start
    value = int.from_bytes(data[start : start + length]) & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), start + length
