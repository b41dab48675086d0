"""Titles of invented products, as shops write them: brand, audience, colour, material, noun."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from ponder.small.wordnet import Synset

COLOURS = (
    *("black", "white", "grey", "red", "blue", "navy blue", "green", "olive", "yellow", "orange"),
    *("pink", "purple", "brown", "beige", "maroon", "turquoise", "golden", "silver", "cream"),
)
MATERIALS = (
    *("cotton", "wool", "leather", "silk", "linen", "denim", "canvas", "steel", "wood", "glass"),
    *("ceramic", "rubber", "plastic", "suede", "bamboo", "copper", "velvet", "marble"),
)
LOOKS = (
    *("striped", "checked", "printed", "plain", "embroidered", "floral", "round", "slim", "large"),
    *("small", "long", "short", "soft", "light", "heavy", "folding", "vintage", "casual", "formal"),
)
AUDIENCES = (
    *("men", "women", "boys", "girls", "kids", "babies"),
    *("travel", "home", "sports", "office", "garden", "kitchen"),
)
FIELDS_SOLD = ("artifact", "artifact", "artifact", "food", "plant")
FORMS = (
    "{brand} {audience} {look} {colour} {material} {noun}",
    "{brand} {colour} {material} {noun} for {audience}",
    "{look} {colour} {noun} by {brand}",
    "{colour} {material} {noun}, {look}, for {audience}",
    "{noun} {brand}, {colour}, {material}",
    "{brand} {noun} ({colour}, {look})",
)


@dataclass(frozen=True, slots=True)
class Product:
    """What a shop has."""

    noun: Synset
    brand: str
    colour: str
    material: str
    look: str
    audience: str

    def varied(self, rng: random.Random) -> "Product":
        """Return the same in another colour and look."""
        return replace(
            self,
            colour=rng.choice([one for one in COLOURS if one != self.colour]),
            look=rng.choice([one for one in LOOKS if one != self.look]),
        )


def product(
    noun: Callable[[str, random.Random], Synset],
    name: Callable[[random.Random], str],
    rng: random.Random,
) -> Product:
    """Return a new product.

    Args:
        noun: draws a usual noun of a field.
        name: draws a name, here of a brand.
        rng: draws.
    """
    return Product(
        noun(rng.choice(FIELDS_SOLD), rng),
        name(rng),
        *(rng.choice(of) for of in (COLOURS, MATERIALS, LOOKS, AUDIENCES)),
    )


def titled(one: Product, rng: random.Random) -> tuple[str, str]:
    """Return two titles of a product, in different forms and maybe by different words."""
    first, second = (
        form.format(
            brand=one.brand,
            colour=one.colour,
            material=one.material,
            look=one.look,
            audience=one.audience,
            noun=rng.choice(one.noun.words[:2]),
        )
        for form in rng.sample(FORMS, 2)
    )
    return first, second
