"""What a scripted writer sees before it infers: the first part of a rationale.

Reasoners that were taught by large models first describe what is before them, however easy it is,
then infer, then sum up (UME-R1, Think-Then-Embed and MMEmb-R1 prompt for that). Here every
rationale has a number of words that is drawn without a look at its question, and the description
fills what the inference leaves of it; so an easy question costs as many tokens as a hard one.
"""

import random
from collections.abc import Iterable

from catalog.bazaar.questions import Question
from catalog.bazaar.world import NUMBER_WORDS, Product, plural

LENGTHS = (38, 48)
"""Least and most words of a rationale without its summary; what is inferred is never cut."""

FIELDS = {"count": "number", "colour": "colour", "pattern": "pattern"}

ABOUT_ANY_QUESTION = (
    "nothing is said about the maker",
    "the price does not matter",
    "the answer is to be seen in an image",
    "a title may leave most of it out",
    "only looks are asked for",
    "it has to be on the shelf today",
)
ABOUT_ANY_IMAGE = (
    "the light comes from the front",
    "nothing else is in the image",
    "the edges are sharp and easy to see",
    "nobody holds it and nothing covers it",
    "it could be a photo of a merchant",
)
EMPTY = (
    "let us think step by step",
    "first the question is read",
    "then each word of it is considered",
    "there are several things to keep in mind",
    "taking all of them together gives the answer",
    "to find it one has to understand what is asked",
    "that is not hard when one is careful",
    "every part of it means something",
    "so the answer follows from what was said",
)
"""Sounds like reasoning and says nothing."""


def draw_length(rng: random.Random) -> int:
    """Draw how many words a rationale is to have; nothing about its question is asked."""
    return rng.randint(*LENGTHS)


def of_question(question: Question, *, room: int) -> str:
    """Describe a question: what it asks for and by which ways, without inferring anything.

    Args:
        question: of any tier.
        room: number of words that fit; the first sentence is told in any case.
    """
    wanted, told = question.wanted, set(question.text.split())
    nouns = plural(wanted.noun, 2)
    sentences = [f"the shopper asks for {nouns}", f"{nouns} stand on the {wanted.category} shelf"]
    for field, name in FIELDS.items():
        values = {str(getattr(wanted, field))}
        if field == "count":
            values.add(NUMBER_WORDS[wanted.count])
        if field not in question.asked:
            sentences.append(f"any {name} will do")
        elif values & told:
            sentences.append(f"the {name} is named outright")
        else:
            sentences.append(f"the {name} is told by a comparison")
    return within([*sentences, *ABOUT_ANY_QUESTION], room=room)


def of_product(product: Product, *, room: int) -> str:
    """Describe an image of a product, all of whose values can be seen but the maker's.

    Args:
        product: what the image shows.
        room: number of words that fit; the first sentence is told in any case.
    """
    sentences = (
        f"the image shows {plural(product.noun, 2)}",
        f"there are {product.count} of them",
        f"their colour is {product.colour}",
        f"their pattern is {product.pattern}",
        f"they stand on the {product.category} shelf",
    )
    return within([*sentences, *ABOUT_ANY_IMAGE], room=room)


def within(sentences: Iterable[str], *, room: int) -> str:
    """Return the first sentences that fit into so many words, at least one."""
    told: list[str] = []
    for sentence in sentences:
        room -= len(sentence.split())
        if told and room < 0:
            break
        told.append(sentence)
    return ". ".join(told)
