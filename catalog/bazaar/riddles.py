"""Harder questions than `questions`: more facts, chains of them, sums and differences.

They are for measuring when reasoning pays. The tiers:

literal   names the values
everyday  the indirect and composed questions of `questions`, whose few facts nano grew up with
indirect  one value through one fact: "mugs in the colour of a brick"
composed  the count by arithmetic over three facts, and mostly a colour or pattern besides, the
          colour perhaps by a chain: "as many mugs as a cat has legs without the wings of a fly with
          the humps of a camel, in the colour of what a wolf eats"

Every fact is met in training; a part of the combinations of facts is held out of it, so that an
answer has to be worked out and cannot be remembered.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from catalog.bazaar import questions
from catalog.bazaar.questions import Question, Tier, summary
from catalog.bazaar.world import COUNTS, Product, plural

COLOUR_THINGS: Mapping[str, tuple[str, ...]] = {
    "red": ("a brick", "a strawberry", "a cherry", "a lobster", "blood", "a poppy"),
    "orange": ("an apricot", "rust", "a goldfish", "a mandarin", "a fox", "a traffic cone"),
    "yellow": ("butter", "a sunflower", "straw", "an egg yolk", "mustard", "a dandelion"),
    "green": ("a lime", "moss", "a pea", "a cactus", "spinach", "a crocodile"),
    "blue": ("a blueberry", "denim", "a peacock", "ink", "a cornflower", "a whale"),
    "purple": ("a grape", "an amethyst", "a fig", "a violet", "red cabbage", "a crocus"),
    "pink": ("a salmon", "a rose", "a peony", "ham", "a shrimp", "candy floss"),
    "brown": ("coffee", "a walnut", "a beaver", "mud", "a bread crust", "a potato"),
    "black": ("tar", "a beetle", "liquorice", "a tyre", "a panther", "soot"),
    "grey": ("a mouse", "concrete", "a dolphin", "lead", "a pigeon", "pewter"),
}
COUNT_THINGS: Mapping[int, tuple[tuple[str, str], ...]] = {
    1: (("a snail", "shells"), ("a cyclops", "eyes"), ("a coin", "holes"), ("an apple", "stems")),
    2: (("a fly", "wings"), ("a camel", "humps"), ("a crab", "claws"), ("a deer", "antlers")),
    3: (("a clover", "leaves"), ("a trident", "prongs"), ("a stool", "feet"), ("a fan", "blades")),
    4: (("a cat", "legs"), ("a wagon", "wheels"), ("a kite", "corners"), ("a table", "legs")),
    5: (("a foot", "toes"), ("a pentagon", "sides"), ("a daisy", "petals"), ("a glove", "fingers")),
    6: (("a bee", "legs"), ("a hexagon", "sides"), ("a guitar", "strings"), ("a die", "faces")),
}
PATTERN_THINGS: Mapping[str, tuple[str, ...]] = {
    "plain": ("a wall", "a spoon", "a cloudless night", "a bed sheet", "a pebble", "a full moon"),
    "striped": ("a wasp", "a barber pole", "a sailor", "a deck chair", "a badger", "a crosswalk"),
    "dotted": ("a leopard", "a fawn", "a toadstool", "measles", "a domino tile", "a guinea fowl"),
    "checked": ("a kilt", "a picnic cloth", "graph paper", "a waffle", "a tiled floor", "a taxi"),
}
EATERS: Mapping[str, str] = {
    "a robin": "a cherry",
    "a wolf": "ham",
    "an otter": "a salmon",
    "a seal": "a shrimp",
    "a camel": "a cactus",
    "a hamster": "a pea",
    "a hen": "straw",
    "a bear": "a blueberry",
    "a wasp": "a fig",
    "a jay": "a walnut",
    "a snake": "a mouse",
    "a hawk": "a pigeon",
    "a starling": "a grape",
    "a heron": "a goldfish",
    "a lizard": "a beetle",
    "a goat": "a dandelion",
}
"""Who eats what; each food has a colour above, so a colour can be two facts away."""

HELD_OUT_SHARE = 1 / 4

TIERS: tuple[Tier, ...] = ("literal", "everyday", "indirect", "composed")
TEST_SHARES: Mapping[Tier, int] = {"literal": 1, "everyday": 1, "indirect": 1, "composed": 2}
"""Of every five test questions two are composed."""


@dataclass(frozen=True, slots=True)
class Riddle:
    """A question together with the facts that it takes."""

    question: Question
    clues: tuple[str, ...]
    """Facts as sentences, in the order of the rationale."""

    @property
    def is_held_out(self) -> bool:
        """Whether its combination of facts is kept from training; one fact alone never is."""
        if len(self.clues) < 2:
            return False
        digest = hashlib.sha256("/".join(sorted(self.clues)).encode()).digest()
        return digest[0] < 256 * HELD_OUT_SHARE


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that riddles take for known, as a rationale tells it."""

    question: str
    """What is to be known, e.g. "the wings of a fly"."""

    sentence: str
    """E.g. "a fly has 2 wings"."""

    value: str
    """E.g. "2"."""


def facts() -> list[Fact]:
    """Every fact that a riddle can take, sums and differences of two counts included."""
    colours = [
        Fact(f"the colour of {thing}", f"{thing} is {colour}", colour)
        for colour, things in COLOUR_THINGS.items()
        for thing in things
    ]
    patterns = [
        Fact(f"the pattern of {thing}", f"{thing} is {pattern}", pattern)
        for pattern, things in PATTERN_THINGS.items()
        for thing in things
    ]
    counts = [
        Fact(f"the {parts} of {owner}", f"{owner} has {count} {parts}", str(count))
        for count, owners in COUNT_THINGS.items()
        for owner, parts in owners
    ]
    foods = [
        Fact(f"what {eater} eats", f"{eater} eats {food}", food) for eater, food in EATERS.items()
    ]
    sums = [
        Fact(f"{first} {word} {second}", f"{first} {word} {second} is {count}", str(count))
        for count in COUNTS
        for first, second, word in ways(count)
    ]
    return [*colours, *patterns, *counts, *foods, *sums]


def ways(count: int) -> list[tuple[int, int, str]]:
    """Two counts and the word between them that make the count."""
    sums = [(a, b, "with") for a in COUNTS for b in COUNTS if a + b == count]
    return sums + [(a, b, "without") for a in COUNTS for b in COUNTS if a - b == count]


def ask(product: Product, tier: Tier, random: random.Random) -> Riddle:
    """A riddle of the given tier to which the product is an answer."""
    if tier == "literal":
        return Riddle(questions.ask(product, "literal", random), ())
    if tier == "everyday":
        question = questions.ask(product, random.choice(("indirect", "composed")), random)
        return Riddle(replace(question, tier="everyday"), ())
    if tier == "indirect":
        hidden = {random.choice(("colour", "count", "pattern"))}
        return _compose(product, tier, hidden, random)
    others = random.choice(((), ("colour",), ("pattern",), ("colour",)))
    return _compose(product, tier, {"count", *others}, random)


def ask_for_test(products: Sequence[Product], tier: Tier, random: random.Random) -> Riddle:
    """A riddle about one of the products; a composed one of a held-out combination of facts."""
    while True:
        riddle = ask(random.choice(products), tier, random)
        if tier != "composed" or riddle.is_held_out:
            return riddle


def _compose(product: Product, tier: Tier, hidden: set[str], random: random.Random) -> Riddle:
    named = {name for name in ("colour", "pattern") if name not in hidden and random.random() < 0.5}
    adjectives = " ".join(getattr(product, name) for name in sorted(named))
    things = f"{adjectives} {plural(product.noun, 2)}".strip()
    clues: list[str] = []
    facts: list[str] = []
    text = things
    if "count" in hidden:
        clue = _count(product.count, things, random, is_sum=tier == "composed")
        text, clues, facts = clue.text, [*clue.clues], [*clue.facts]
    if "colour" in hidden:
        is_chain = tier == "composed" and random.random() < 0.5
        clue = _colour(product.colour, random, is_chain=is_chain)
        text, clues, facts = f"{text} {clue.text}", clues + clue.clues, facts + clue.facts
    if "pattern" in hidden:
        thing = random.choice(PATTERN_THINGS[product.pattern])
        fact = f"{thing} is {product.pattern}"
        text, clues, facts = f"{text} patterned like {thing}", [*clues, fact], [*facts, fact]
    asked = frozenset({"noun"} | hidden | named)
    rationale = ". ".join(facts)
    question = Question(text, tier, product, asked, rationale, summary(product, asked))
    return Riddle(question, tuple(clues))


@dataclass(frozen=True, slots=True)
class _Clue:
    text: str
    clues: list[str]
    facts: list[str]
    """The clues and what follows from them."""


def _count(count: int, things: str, random: random.Random, *, is_sum: bool) -> _Clue:
    if not is_sum:
        owner, parts = random.choice(COUNT_THINGS[count])
        fact = f"{owner} has {count} {parts}"
        return _Clue(f"as many {things} as {owner} has {parts}", [fact], [fact])
    subtotal, third, last = random.choice(ways(count))
    first, second, word = random.choice(ways(subtotal))
    counts = (first, second, third)
    owners = _owners(counts, random)
    facts = [f"{who} has {n} {what}" for n, (who, what) in zip(counts, owners, strict=True)]
    (owner, parts), (other, pieces), (another, bits) = owners
    text = (
        f"as many {things} as {owner} has {parts} {word} the {pieces} of {other} "
        f"{last} the {bits} of {another}"
    )
    sums = [f"{first} {word} {second} is {subtotal}", f"{subtotal} {last} {third} is {count}"]
    return _Clue(text, facts, [facts[0], facts[1], sums[0], facts[2], sums[1]])


def _owners(counts: tuple[int, ...], random: random.Random) -> list[tuple[str, str]]:
    """Owners of so many parts each; no one twice."""
    chosen: list[tuple[str, str]] = []
    for count in counts:
        chosen.append(random.choice([one for one in COUNT_THINGS[count] if one not in chosen]))
    return chosen


def _colour(colour: str, random: random.Random, *, is_chain: bool) -> _Clue:
    foods = set(COLOUR_THINGS[colour])
    eaters = sorted(eater for eater, food in EATERS.items() if food in foods)
    if is_chain and eaters:
        eater = random.choice(eaters)
        facts = [f"{eater} eats {EATERS[eater]}", f"{EATERS[eater]} is {colour}"]
        return _Clue(f"in the colour of what {eater} eats", facts, facts)
    thing = random.choice(COLOUR_THINGS[colour])
    fact = f"{thing} is {colour}"
    return _Clue(f"in the colour of {thing}", [fact], [fact])
