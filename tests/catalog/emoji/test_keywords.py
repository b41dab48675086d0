"""Tests for catalog/emoji/keywords.py."""

from pathlib import Path

import pytest

from catalog.emoji.keywords import Keyword, keywords, read_keywords

ANNOTATIONS = """<?xml version="1.0" encoding="UTF-8" ?>
<ldml><annotations>
  <annotation cp="😀">face | grin</annotation>
  <annotation cp="😀" type="tts">grinning face</annotation>
  <annotation cp="👩‍🚒">firefighter</annotation>
  <annotation cp="🐱">cat | face | pet</annotation>
</annotations></ldml>
"""


def test_keywords_of_single_characters_are_read_and_spoken_names_are_not(tmp_path: Path) -> None:
    file = tmp_path / "en.xml"
    file.write_text(ANNOTATIONS)
    assert read_keywords(file) == {"1f600": ["face", "grin"], "1f431": ["cat", "face", "pet"]}


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [(None, FileNotFoundError, "unicode-cldr-core"), ("<ldml>", ValueError, "got no XML")],
)
def test_a_file_without_annotations_is_refused_with_what_to_do(
    tmp_path: Path, content: str | None, error: type[Exception], said: str
) -> None:
    file = tmp_path / "en.xml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(error, match=said):
        read_keywords(file)


def test_a_keyword_asks_for_every_emoji_that_has_it_and_is_named_where_a_name_has_its_word() -> (
    None
):
    names = {"1f600": "grinning face", "1f431": "cat face", "1f415": "dog"}
    words = {"1f600": ["grin", "9:30"], "1f431": ["cats", "pet"], "1f415": ["pet"], "1f436": ["x"]}
    assert list(keywords(names, words)) == [
        Keyword("cats", ("1f431",), "named"),
        Keyword("grin", ("1f600",), "meant"),
        Keyword("pet", ("1f431", "1f415"), "meant"),
    ]
