"""The synthetic world: what products exist, and the few facts its people know.

A product is a noun, a colour, a pattern, a count and a brand. Because every image, title and
question is made from these five values, the right answer to any question is known by construction.
"""

import hashlib
import random
from dataclasses import dataclass

CATEGORIES: dict[str, tuple[str, ...]] = {
    "kitchen": ("mug", "bottle", "bowl", "pan"),
    "home": ("lamp", "chair", "clock", "candle"),
    "clothing": ("hat", "shoe", "shirt", "sock"),
    "travel": ("bag", "umbrella", "suitcase", "book"),
    "toys": ("kite", "car", "boat", "robot"),
    "music": ("drum", "guitar", "bell", "fish"),  # a singing fish: not every shelf is tidy
}
NOUNS: tuple[str, ...] = tuple(noun for nouns in CATEGORIES.values() for noun in nouns)
CATEGORY_OF = {noun: category for category, nouns in CATEGORIES.items() for noun in nouns}

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "orange": (255, 140, 20),
    "yellow": (250, 215, 40),
    "green": (44, 150, 60),
    "blue": (38, 90, 200),
    "purple": (120, 50, 160),
    "pink": (245, 140, 180),
    "brown": (125, 80, 45),
    "black": (30, 30, 34),
    "grey": (140, 140, 145),
}
PATTERNS: tuple[str, ...] = ("plain", "striped", "dotted", "checked")
COUNTS: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
BRANDS: tuple[str, ...] = (
    *("ACME", "BRIO", "COZY", "DUNE", "ECHO", "FLUX"),
    *("GLOW", "HALO", "IRIS", "JADE", "KIWI", "LUMA"),
)

NUMBER_WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}

COLOUR_FACTS: dict[str, tuple[str, ...]] = {
    "red": ("a fire engine", "a ripe tomato", "a stop sign"),
    "orange": ("a carrot", "a pumpkin", "a basketball"),
    "yellow": ("a ripe banana", "a lemon", "a canary"),
    "green": ("grass", "a frog", "a cucumber"),
    "blue": ("a clear sky", "the deep sea", "a sapphire"),
    "purple": ("a plum", "lavender", "an aubergine"),
    "pink": ("a flamingo", "bubble gum", "a piglet"),
    "brown": ("chocolate", "tree bark", "a chestnut"),
    "black": ("coal", "a raven", "a moonless night"),
    "grey": ("an elephant", "a rain cloud", "ash"),
}
COUNT_FACTS: dict[int, tuple[tuple[str, str], ...]] = {
    1: (("a unicorn", "horns"), ("a wheelbarrow", "wheels")),
    2: (("a bicycle", "wheels"), ("a bird", "wings")),
    3: (("a tricycle", "wheels"), ("a triangle", "sides")),
    4: (("a square", "sides"), ("a horse", "legs")),
    5: (("a hand", "fingers"), ("a starfish", "arms")),
    6: (("an ant", "legs"), ("a cube", "faces")),
}
PATTERN_FACTS: dict[str, tuple[str, ...]] = {
    "plain": ("a blank sheet", "fresh snow"),
    "striped": ("a zebra", "a tiger"),
    "dotted": ("a ladybird", "a domino"),
    "checked": ("a chess board", "a racing flag"),
}


@dataclass(frozen=True, slots=True, order=True)
class Product:
    """Everything that is true of one product."""

    noun: str
    colour: str
    pattern: str
    count: int
    brand: str

    @property
    def category(self) -> str:
        """The shelf it stands on."""
        return CATEGORY_OF[self.noun]

    @property
    def name(self) -> str:
        """Its full name without the brand, e.g. "3 red striped mugs"."""
        return f"{self.count} {self.colour} {self.pattern} {plural(self.noun, self.count)}"

    @property
    def is_held_out(self) -> bool:
        """Whether its combination of noun, colour, pattern and count is kept from training.

        About one combination in six. Each single value is seen in training; what a model must show
        on the held-out part is that it can put known values together in a way it has never seen.
        """
        combination = f"{self.noun}/{self.colour}/{self.pattern}/{self.count}"
        return hashlib.sha256(combination.encode()).digest()[0] % 6 == 0


def plural(noun: str, count: int) -> str:
    """The noun as it reads after a number; the world has no irregular ones but fish.

    >>> plural("mug", 3), plural("mug", 1), plural("fish", 2)
    ('mugs', 'mug', 'fish')
    """
    return noun if count == 1 or noun == "fish" else noun + "s"


def random_product(random: random.Random) -> Product:
    """A product with each value drawn evenly and independently."""
    return Product(
        noun=random.choice(NOUNS),
        colour=random.choice(tuple(COLOURS)),
        pattern=random.choice(PATTERNS),
        count=random.choice(COUNTS),
        brand=random.choice(BRANDS),
    )


def near_miss(product: Product, random: random.Random) -> Product:
    """A product that differs from the given one in exactly one of the values a name tells."""
    values: dict[str, tuple[object, ...]] = {
        "noun": NOUNS,
        "colour": tuple(COLOURS),
        "pattern": PATTERNS,
        "count": COUNTS,
    }
    field = random.choice(tuple(values))
    own = {name: getattr(product, name) for name in (*values, "brand")}
    own[field] = random.choice([value for value in values[field] if value != own[field]])
    return Product(**own)
