"""Texts that `small` learns from, two by two: one thing told in two ways.

Everything is made of WordNet's glosses, of sentences of our own and of names. Pairs come in blocks
of `BLOCK` that resemble each other: neighbouring senses, one story with other names, one product in
other colours. A batch is made of whole blocks, so that a model must tell the resembling apart.
"""

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from ponder.small.names import invented, known_names
from ponder.small.stories import retold, story_cast
from ponder.small.titles import product, titled
from ponder.small.wordnet import FIELDS, Synset, WordNet

BLOCK = 2
"""Pairs that stand side by side and resemble each other."""

KINDS: Mapping[str, float] = {"gloss": 0.3, "passage": 0.5, "story": 0.1, "shop": 0.1}
"""What pairs are about, and their shares."""

MOST_TOLD = 3
"""Of a sense; later ones are rare."""

KNOWN_SHARE = 2 / 3
"""Of names, those that the tokenizer knows; the others are invented."""


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two texts about one thing."""

    first: str
    second: str
    kind: str
    """A key of `KINDS`."""


class TextSource:
    """Draws senses and names."""

    def __init__(self, wordnet: WordNet, vocabulary: Collection[str]) -> None:
        """Look up which words and names are usual.

        Args:
            wordnet: all senses.
            vocabulary: word pieces of the tokenizer; a noun that is none of them is too rare for
                stories and shops, where a field has others.
        """
        self.wordnet = wordnet
        known = set(vocabulary)
        kinds = {name: wordnet.kinds(name) for name in FIELDS}
        self._usual = {
            name: [one for one in found if one.words[0] in known] or found
            for name, found in kinds.items()
        }
        self._keys = sorted(wordnet.synsets)
        self._names = known_names(vocabulary, wordnet)

    def noun(self, field: str, rng: random.Random) -> Synset:
        """Return a usual noun of a field of `FIELDS`."""
        return rng.choice(self._usual[field])

    def sense(self, rng: random.Random) -> Synset:
        """Return any sense of any word."""
        return self.wordnet.synsets[rng.choice(self._keys)]

    def name(self, rng: random.Random) -> str:
        """Return a name that the tokenizer knows, or an invented one."""
        if self._names and rng.random() < KNOWN_SHARE:
            return rng.choice(self._names).capitalize()
        return invented(rng)


def text_pairs(source: TextSource, num_pairs: int, *, seed: int) -> Iterator[TextPair]:
    """Yield blocks of pairs, kinds mixed.

    Args:
        source: what is drawn from.
        num_pairs: a multiple of `BLOCK`.
        seed: decides everything.
    """
    rng = random.Random(f"small/{seed}")
    for _ in range(num_pairs // BLOCK):
        (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
        for first, second in WRITERS[kind](source, rng):
            yield TextPair(first, second, kind)


def gloss_block(source: TextSource, rng: random.Random) -> list[tuple[str, str]]:
    """Return a sense and a neighbour: the words beside their definition."""
    return [_glossed(one, rng) for one in _near(source, rng, 2)]


def passage_block(source: TextSource, rng: random.Random) -> list[tuple[str, str]]:
    """Return two neighbourhoods, each told by two different choices of its glosses."""
    return [_passages(source, one, rng) for one in _near(source, rng, 2)]


def story_block(source: TextSource, rng: random.Random) -> list[tuple[str, str]]:
    """Return one story twice, the second time with other names, each told in two ways."""
    cast = story_cast(source.noun, source.name, rng)
    return [retold(one, source.wordnet, rng) for one in (cast, cast.renamed(source.name, rng))]


def shop_block(source: TextSource, rng: random.Random) -> list[tuple[str, str]]:
    """Return two products of one kind that look otherwise, each titled in two ways."""
    first = product(source.noun, source.name, rng)
    return [titled(one, rng) for one in (first, first.varied(rng))]


WRITERS: Mapping[str, Callable[[TextSource, random.Random], list[tuple[str, str]]]] = {
    "gloss": gloss_block,
    "passage": passage_block,
    "story": story_block,
    "shop": shop_block,
}


def _near(source: TextSource, rng: random.Random, num: int) -> list[Synset]:
    """Return a sense and others near it."""
    one = source.sense(rng)
    near = source.wordnet.neighbours(one)
    chosen = rng.sample(near, min(num - 1, len(near)))
    return [one, *chosen, *(source.sense(rng) for _ in range(num - 1 - len(chosen)))]


def _glossed(one: Synset, rng: random.Random) -> tuple[str, str]:
    words = ", ".join(one.words[:MOST_TOLD])
    if one.examples and rng.random() < 0.5:
        words = rng.choice((f"{words}: {rng.choice(one.examples)}", rng.choice(one.examples)))
    return words, one.definition


def _passages(source: TextSource, about: Synset, rng: random.Random) -> tuple[str, str]:
    """Tell a neighbourhood twice: no gloss is in both texts, but what it is about is."""
    near = source.wordnet.neighbours(about)
    near += [other for one in near[:3] for other in source.wordnet.neighbours(one)]
    chosen = rng.sample(near, min(len(near), rng.randint(4, 8)))
    half = len(chosen) // 2
    sides = [about, *chosen[:half]], chosen[half:]
    told = [". ".join(_told(one, rng) for one in rng.sample(side, len(side))) for side in sides]
    return told[0], f"{about.words[0]}. {told[1]}"


def _told(one: Synset, rng: random.Random) -> str:
    form = rng.randrange(3)
    if form == 0:
        return one.definition
    if form == 1 and one.examples:
        return rng.choice(one.examples)
    return f"{rng.choice(one.words[:MOST_TOLD])}, {one.definition}"
