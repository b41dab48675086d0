"""Questions that shoppers ask, in three tiers, each with its answer and the way to it.

literal   names the values: "three red striped mugs"
indirect  gives one value through a fact: "mugs in the colour of a ripe banana"
composed  needs two facts, or a fact and arithmetic: "twice as many mugs as a bicycle has wheels, in
          the colour of grass"
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from catalog.bazaar.world import (
    COLOUR_FACTS,
    COUNT_FACTS,
    COUNTS,
    NUMBER_WORDS,
    PATTERN_FACTS,
    Product,
    plural,
)

Tier = Literal["literal", "everyday", "indirect", "composed"]
"""`everyday` is what `riddles` calls the indirect and composed questions of this file."""

TIERS: tuple[Tier, ...] = ("literal", "indirect", "composed")


@dataclass(frozen=True, slots=True)
class Question:
    """A shopper's question about products."""

    text: str
    tier: Tier
    wanted: Product
    """The product that the question was made from; its brand is not part of the question."""

    asked: frozenset[str]
    """Which of noun, colour, pattern and count the question fixes."""

    rationale: str
    """A right chain of fact, in the shortest words; empty where there is nothing to infer."""

    summary: str
    """The values that the question fixes, spelled out."""

    def answers(self, products: Iterable[Product]) -> list[int]:
        """Positions of the products that fit."""
        return [i for i, product in enumerate(products) if self.fits(product)]

    def fits(self, product: Product) -> bool:
        """Whether the product has every value that the question fixes."""
        return all(getattr(product, name) == getattr(self.wanted, name) for name in self.asked)


def ask(product: Product, tier: Tier, random: random.Random) -> Question:
    """A question of the given tier to which the product is an answer."""
    if tier == "literal":
        return _ask_literal(product, random)
    hidden = random.sample(("colour", "count", "pattern"), 1 if tier == "indirect" else 2)
    needs_arithmetic = tier == "composed" and random.random() < 0.5
    if needs_arithmetic:
        hidden = ["count", random.choice(("colour", "pattern"))]
    return _ask_hidden(product, tier, set(hidden), needs_arithmetic, random)


def summary(product: Product, asked: frozenset[str]) -> str:
    """The asked values in a fixed order, e.g. "3 red mugs"."""
    words = []
    if "count" in asked:
        words.append(str(product.count))
    if "colour" in asked:
        words.append(product.colour)
    if "pattern" in asked:
        words.append(product.pattern)
    return " ".join([*words, plural(product.noun, product.count if "count" in asked else 2)])


def _ask_literal(product: Product, random: random.Random) -> Question:
    asked = frozenset(
        {"noun", *random.sample(("colour", "count", "pattern"), random.choice((1, 2, 3, 3)))}
    )
    noun = plural(product.noun, product.count if "count" in asked else 2)
    words = []
    if "count" in asked:
        number = NUMBER_WORDS[product.count] if random.random() < 0.5 else str(product.count)
        words.append(random.choice((number, number, f"set of {number}")))
    adjectives = [getattr(product, name) for name in ("colour", "pattern") if name in asked]
    if len(adjectives) == 2 and random.random() < 0.5:
        adjectives.reverse()
    text = " ".join([*words, *adjectives, noun])
    told = summary(product, asked)
    return Question(text, "literal", product, asked, "", told)


def _ask_hidden(
    product: Product, tier: Tier, hidden: set[str], needs_arithmetic: bool, random: random.Random
) -> Question:
    named = {name for name in ("colour", "pattern") if name not in hidden and random.random() < 0.5}
    asked = frozenset({"noun"} | hidden | named)
    front, back, facts = "", [], []
    if "count" in hidden:
        front, fact = _count_clue(product.count, product.noun, needs_arithmetic, random)
        facts.append(fact)
    if "colour" in hidden:
        thing = random.choice(COLOUR_FACTS[product.colour])
        back.append(f"in the colour of {thing}")
        facts.append(f"{thing} is {product.colour}")
    if "pattern" in hidden:
        thing = random.choice(PATTERN_FACTS[product.pattern])
        back.append(f"with the pattern of {thing}")
        facts.append(f"{thing} is {product.pattern}")
    adjectives = " ".join(getattr(product, name) for name in sorted(named))
    things = f"{adjectives} {plural(product.noun, 2)}".strip()
    middle = front.format(things=things) if front else things
    text = " ".join([middle, *back])
    return Question(text, tier, product, asked, ". ".join(facts), summary(product, asked))


def _count_clue(
    count: int, noun: str, needs_arithmetic: bool, random: random.Random
) -> tuple[str, str]:
    """A phrase that gives the count through a fact, and the fact that resolves it."""
    if needs_arithmetic:
        ways = [(base, "twice") for base in COUNTS if base * 2 == count]
        ways += [(base, "one more than") for base in COUNTS if base + 1 == count]
        ways += [(base, "one less than") for base in COUNTS if base - 1 == count]
        base, operation = random.choice(ways)
        owner, parts = random.choice(COUNT_FACTS[base])
        fact = f"{owner} has {base} {parts}"
        if operation == "twice":
            return (
                f"twice as many {{things}} as {owner} has {parts}",
                f"{fact}. twice {base} is {count}",
            )
        phrase = f"{{things}}, {operation} {owner} has {parts},"
        return phrase, f"{fact}. {operation} {base} is {count}"
    owner, parts = random.choice(COUNT_FACTS[count])
    return f"as many {{things}} as {owner} has {parts}", f"{owner} has {count} {parts}"
