"""WordNet 3.0 as Debian's `wordnet-base` lays it out: senses, their glosses and what they lie near.

The layout is that of `wndb(5WN)`: a line is a synset, `offset file type count words pointers |
gloss`, and the gloss is a definition followed by examples in quotation marks.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PARTS = ("noun", "verb", "adj", "adv")

FIELDS = {
    "act": 4,
    "animal": 5,
    "artifact": 6,
    "attribute": 7,
    "body": 8,
    "event": 11,
    "food": 13,
    "location": 15,
    "object": 17,
    "person": 18,
    "plant": 20,
    "substance": 27,
}
"""Numbers of lexicographers' files of nouns that something here is made of."""

EXAMPLE = re.compile(r'"([^"]+)"')
MARK = re.compile(r"\((?:p|a|ip)\)$")
"""Where an adjective stands, behind the word."""
OFFENSIVE = re.compile(r"\b(offensive|slurs?|obscene|disparag\w+|vulgar)\b")
"""In the definition of a word that nothing here repeats."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Synset:
    """One sense, and the words that have it."""

    key: str
    """Part of speech and offset, e.g. `n02084071`."""

    field: int
    """Number of the lexicographer's file."""

    words: tuple[str, ...]
    """The most usual first; names keep their capitals."""

    definition: str
    examples: tuple[str, ...]
    related: tuple[str, ...]
    """Keys of all that it points to, what is above it first."""

    is_instance: bool
    """Whether it is one thing that has a name, such as a town, and no kind."""


@dataclass(frozen=True, slots=True)
class WordNet:
    """All senses."""

    synsets: Mapping[str, Synset]

    first_senses: frozenset[str]
    """Keys of the nouns that are the most usual sense of some word."""

    digest: str
    """SHA-256 of the files that were read, one after the other."""

    def kinds(self, field: str) -> list[Synset]:
        """Return nouns of a field of `FIELDS` that are kinds of things, in their usual sense."""
        number = FIELDS[field]
        return [
            one
            for one in self.synsets.values()
            if one.field == number and one.key in self.first_senses and not one.is_instance
        ]

    def neighbours(self, synset: Synset) -> list[Synset]:
        """Return what a sense points to, what is above it first."""
        return [self.synsets[key] for key in synset.related if key in self.synsets]


def read_wordnet(folder: Path) -> WordNet:
    """Read `index.noun`, and `data.noun`, `data.verb`, `data.adj` and `data.adv`.

    Raises:
        FileNotFoundError: the folder lacks one of them.
        ValueError: a line is no synset; the text names file and line.
    """
    found: dict[str, Synset] = {}
    digest = hashlib.sha256()
    firsts: set[str] = set()
    for name in ("index.noun", *(f"data.{part}" for part in PARTS)):
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} must hold {name} of WordNet 3.0; Debian has it in the package "
                "wordnet-base, below usr/share/wordnet"
            )
        content = path.read_bytes()
        digest.update(content)
        lines = content.decode("ascii").splitlines()
        if name == "index.noun":
            firsts |= set(_parsed(lines, path, _first_sense))
        else:
            read = _parsed(lines, path, _synset)
            found |= {one.key: one for one in read if not OFFENSIVE.search(one.definition)}
    return WordNet(found, frozenset(firsts), digest.hexdigest())


def _parsed(lines: Sequence[str], path: Path, parse: Callable[[str], T]) -> Iterator[T]:
    for number, line in enumerate(lines, start=1):
        if line.startswith("  "):  # the licence, at the head of every file
            continue
        try:
            yield parse(line)
        except (ValueError, IndexError) as error:
            raise ValueError(
                f"{path} line {number} must be as wndb(5WN) has it, got {line[:60]!r}"
            ) from error


def _first_sense(line: str) -> str:
    """Return the key of a noun's first sense: a line ends with all of them, the usual first."""
    fields = line.split()
    return f"n{fields[-int(fields[2])]}"


def _synset(line: str) -> Synset:
    head, bar, gloss = line.partition(" | ")
    if not bar:
        raise ValueError("no gloss")
    fields = head.split()
    part = "a" if fields[2] == "s" else fields[2]
    count = int(fields[3], 16)
    words = [MARK.sub("", word).replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
    start = 4 + 2 * count
    pointers = fields[start + 1 :][: 4 * int(fields[start])]
    kinds, offsets, parts = pointers[0::4], pointers[1::4], pointers[2::4]
    told = [
        (kind, f"{'a' if of == 's' else of}{offset}")
        for kind, offset, of in zip(kinds, offsets, parts, strict=True)
    ]
    told.sort(key=lambda one: not one[0].startswith("@"))  # stable: the rest as it stands
    return Synset(
        key=f"{part}{fields[0]}",
        field=int(fields[1]),
        words=tuple(words),
        definition=EXAMPLE.sub("", gloss).strip(" ;"),
        examples=tuple(EXAMPLE.findall(gloss)),
        related=tuple(dict.fromkeys(key for _, key in told)),
        is_instance="@i" in kinds,
    )


def common_words(wordnet: WordNet) -> set[str]:
    """Return every word of a kind, an action or a property, in lower case, without inflections."""
    return {
        part
        for one in wordnet.synsets.values()
        if not one.is_instance
        for word in one.words
        for part in re.split(r"[ -]", word.lower())
    }
