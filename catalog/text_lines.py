"""Lines of text files as programs of any system write them."""

from collections.abc import Iterator
from pathlib import Path

BOM = b"\xef\xbb\xbf"
"""UTF-8's byte-order mark. Windows puts it before a text, joined files hold it before any line."""

UTF_16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def text_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not blank, in UTF-8, each with its number from 0.

    Byte-order marks and white space around a line are taken off. A file that begins with the mark
    of UTF-16 is decoded; in any other, bytes stay what they are.

    Raises:
        UnicodeDecodeError: a file that begins like UTF-16 does not go on so.
    """
    for number, line in enumerate(_lines(file)):
        if bare := line.strip().removeprefix(BOM).strip():
            yield number, bare


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as lines:
        if lines.peek(2)[:2] not in UTF_16_BOMS:
            yield from lines
            return
    with file.open(encoding="utf-16") as decoded:
        for line in decoded:
            yield line.encode()
