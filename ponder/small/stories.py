"""Invented stories of the length of a plot: who and what they are about, told in two ways.

The two tellings have the names in common and little else: they choose other sentences, and call
what the story is about by another word, by what it is a kind of, or by its definition.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ponder.small.wordnet import Synset, WordNet

OPENINGS = (
    "In {place}, {name}, {role}, finds {thing}.",
    "{name} is {role} who lives near {place}.",
    "The story of {name}, {role}, and of what happens in {place}.",
    "When {name} comes home to {place}, {thing} is gone.",
    "{name}, {role}, is sent to {place} to look for {thing}.",
    "Nobody in {place} believes {name}, {role}.",
    "After {event}, {name} leaves {place} and takes {thing} along.",
    "{name} wants to be {role}, but {place} has other plans.",
)
MIDDLES = (
    "{other}, {rival}, wants {thing} too.",
    "There {name} meets {other}, {rival}, and everything changes.",
    "But {event} brings {other} to {place}.",
    "With the help of {other} and {animal}, {name} sets out.",
    "{other} hides {thing} from {name}.",
    "Soon {name} and {other} fall in love, until {event}.",
    "{name} is followed by {animal}, day and night.",
    "What begins as {event} turns into a fight for {place}.",
    "A family with {animal} takes {name} in.",
)
ENDINGS = (
    "Only {thing} can save {place}.",
    "Together {name} and {other} must stop {event}.",
    "In the end {name} has to choose between {other} and {thing}.",
    "{other} knows the truth about {event}.",
    "Will {name} ever see {place} again?",
    "For {name}, {event} is only the beginning.",
    "",
)
SLOTS: Mapping[str, str] = {
    "role": "person",
    "rival": "person",
    "thing": "artifact",
    "animal": "animal",
    "event": "event",
}
"""Fields of WordNet that a story's slots are filled from."""

NAMES = ("name", "other", "place")

Nouns = Callable[[str, random.Random], Synset]
Names = Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Cast:
    """Who and what a story is about, by slot."""

    names: Mapping[str, str]
    things: Mapping[str, Synset]

    def renamed(self, name: Names, rng: random.Random) -> "Cast":
        """Return the same story about others elsewhere."""
        return replace(self, names={slot: name(rng) for slot in NAMES})


def story_cast(noun: Nouns, name: Names, rng: random.Random) -> Cast:
    """Return what a new story is about.

    Args:
        noun: draws a usual noun of a field.
        name: draws a name.
        rng: draws.
    """
    things = {slot: noun(field, rng) for slot, field in SLOTS.items()}
    return Cast({slot: name(rng) for slot in NAMES}, things)


def retold(cast: Cast, wordnet: WordNet, rng: random.Random) -> tuple[str, str]:
    """Return two tellings of a story that share no sentence."""
    openings, endings = rng.sample(OPENINGS, 2), rng.sample(ENDINGS, 2)
    middles = rng.sample(MIDDLES, rng.randint(2, 5))
    half = len(middles) // 2
    sides = middles[:half], middles[half:]
    first, second = (
        " ".join(
            (
                _filled(" ".join((opening, *middle)), cast, wordnet, rng),
                *asides(cast, wordnet, rng),
                _filled(ending, cast, wordnet, rng),
            )
        ).strip()
        for opening, middle, ending in zip(openings, sides, endings, strict=True)
    )
    return first, second


def asides(cast: Cast, wordnet: WordNet, rng: random.Random) -> list[str]:
    """Return up to three sentences about what lies near the story's things, as WordNet has them."""
    near = [other for one in cast.things.values() for other in wordnet.neighbours(one)]
    told = [rng.choice((other.definition, *other.examples)) for other in near]
    return [f"{_capital(one)}." for one in rng.sample(told, min(len(told), rng.randint(0, 3)))]


def _filled(sentences: str, cast: Cast, wordnet: WordNet, rng: random.Random) -> str:
    worded = {slot: worded_thing(one, wordnet, rng) for slot, one in cast.things.items()}
    return _capital(sentences.format(**cast.names, **worded))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def worded_thing(one: Synset, wordnet: WordNet, rng: random.Random) -> str:
    """Return a word for a thing, for what it is a kind of, or both its word and its definition."""
    form = rng.randrange(4)
    if form == 0:
        above = wordnet.neighbours(one)[:1] or [one]
        return with_article(above[0].words[0])
    if form == 1:
        return f"{with_article(one.words[0])} ({one.definition.split(';')[0]})"
    return with_article(rng.choice(one.words[:2]))


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article, by its first letter.

    >>> with_article("otter")
    'an otter'
    """
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
