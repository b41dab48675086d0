"""Tests for catalog/text_lines.py: lines as Windows, joined files and editors write them."""

import pytest

from catalog.text_lines import text_lines

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb", [(0, b"a"), (1, b"b")]),
        (BOM + b"a\r\nb\r\n", [(0, b"a"), (1, b"b")]),
        (BOM + b"a\n" + BOM + b"b\n", [(0, b"a"), (1, b"b")]),
        (b"\n  \n" + BOM + b"\n" + BOM + b"  b \n\n", [(3, b"b")]),
        ("é\r\nb\r\n".encode("utf-16"), [(0, "é".encode()), (1, b"b")]),
        (b"\xfe\xff" + "a\nb".encode("utf-16-be"), [(0, b"a"), (1, b"b")]),
        (b"\xff\x00\n", [(0, b"\xff\x00")]),
        (b"", []),
        (b"x", [(0, b"x")]),
    ],
)
def test_marks_and_blank_lines_are_taken_off_and_nothing_else(tmp_path, data, lines):
    file = tmp_path / "lines"
    file.write_bytes(data)
    assert list(text_lines(file)) == lines
