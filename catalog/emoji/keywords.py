"""What people call emoji: the keywords of Unicode's CLDR, as questions with known answers.

A keyword asks for every emoji that has it. Its tier is `named` where one of them has a word of it
in its name, and `meant` where none has, so that it cannot be found by its letters: "pet" for a cat
face.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SEPARATOR = "|"

_IS_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ '\u2019-][^\W\d_]+)*")

Tier = Literal["named", "meant"]


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword, and the emoji that have it."""

    text: str

    codes: tuple[str, ...]
    """Code points, hexadecimal, in the order of the names they came with."""

    tier: Tier


def read_keywords(file: Path) -> dict[str, list[str]]:
    """Return the keywords of every single character that has some, by its hexadecimal code point.

    Args:
        file: `common/annotations/LANGUAGE.xml` of CLDR.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no such file.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} must be CLDR's annotations of a language, got no file; Debian's package "
            "unicode-cldr-core has them"
        )
    try:
        annotations = ElementTree.parse(file).iter("annotation")
    except ElementTree.ParseError as error:
        raise ValueError(f"{file} must be CLDR's annotations, got no XML: {error}") from error
    return {
        f"{ord(one.attrib['cp']):x}": [part.strip() for part in (one.text or "").split(SEPARATOR)]
        for one in annotations
        if "type" not in one.attrib and len(one.attrib.get("cp", "")) == 1
    }


def keywords(names: Mapping[str, str], words: Mapping[str, list[str]]) -> Iterator[Keyword]:
    """Yield the keywords of a catalogue that are words, in alphabetical order.

    Args:
        names: of its emoji by code point.
        words: keywords by code point (`read_keywords`).
    """
    having: dict[str, list[str]] = defaultdict(list)
    for code in names:
        for word in words.get(code, ()):
            if _IS_WORDS.fullmatch(word):  # not "9:30", nor a sign for itself
                having[word].append(code)
    for word, codes in sorted(having.items()):
        yield Keyword(word, tuple(codes), _tier(word, [names[code] for code in codes]))


def _tier(keyword: str, names: list[str]) -> Tier:
    asked = {_stem(word) for word in keyword.lower().split()}
    named = {_stem(word) for name in names for word in name.replace("-", " ").split()}
    return "named" if asked & named else "meant"


def _stem(word: str) -> str:
    """Return a word without its plural or -ing, roughly: "cats", "smiling" and "smile" share one.

    Example:
        >>> [_stem(word) for word in ("cats", "smiling", "smile", "sun")]
        ['cat', 'smil', 'smil', 'sun']
    """
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) > 2:
            return word.removesuffix(ending)
    return word
