"""How merchants write: titles that leave things out, misspell and shout, and short descriptions."""

import random

from catalog.bazaar.world import NUMBER_WORDS, Product, plural

PHRASES = (
    "ideal as a gift",
    "ships tomorrow",
    "last pieces",
    "new in stock",
    "hand checked",
    "as seen in the window",
    "for every day",
    "limited edition",
)


def title(product: Product, random: random.Random, *, keep: float = 0.6) -> str:
    """A merchant's title: always names the noun, each other value with probability `keep`.

    One title in ten has a misspelt word, one in twelve is in capitals. What the title leaves out is
    to be seen in the image.
    """
    words = []
    if random.random() < keep:
        number = NUMBER_WORDS[product.count] if random.random() < 0.5 else str(product.count)
        words.append(random.choice((number, f"set of {number}")))
    if random.random() < keep:
        words.append(product.colour)
    if random.random() < keep:
        words.append(product.pattern)
    words.append(plural(product.noun, product.count))
    if random.random() < keep * 0.5:
        words.insert(random.choice((0, len(words))), product.brand.lower())
    if random.random() < 0.1:
        slot = random.randrange(len(words))
        words[slot] = _misspell(words[slot], random)
    text = " ".join(words)
    return text.upper() if random.random() < 1 / 12 else text


def description(product: Product, random: random.Random) -> str:
    """A sentence or two that say little: a phrase, now and then the brand."""
    parts = random.sample(PHRASES, random.randint(1, 2))
    if random.random() < 0.4:
        parts.append(f"by {product.brand.lower()}")
    return ", ".join(parts)


def _misspell(word: str, random: random.Random) -> str:
    """The word with two neighbouring letters swapped; short words stay whole."""
    if len(word) < 4:
        return word
    slot = random.randrange(1, len(word) - 2)
    return word[:slot] + word[slot + 1] + word[slot] + word[slot + 2 :]
