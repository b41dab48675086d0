"""Names for stories and brands: words that WordNet does not have, and invented ones."""

import random
from collections.abc import Iterable

from ponder.small.wordnet import WordNet, common_words

ENDINGS = ("s", "es", "d", "ed", "ing", "er", "ers", "ly", "n", "en", "y", "ness", "al", "ally")
"""What an inflected word may end with; a vocabulary has many, and they are no names."""

MIN_LETTERS = 4

ONSETS = (
    *("b", "br", "d", "dr", "f", "g", "gr", "h", "j", "k", "kr", "l", "m", "n", "p", "r", "s"),
    *("sh", "st", "t", "th", "tr", "v", "w", "y", "z"),
)
NUCLEI = ("a", "e", "i", "o", "u", "ae", "ai", "ia", "oo", "ou")
CODAS = ("", "", "", "l", "m", "n", "nd", "r", "rk", "s", "th", "x")


def known_names(vocabulary: Iterable[str], wordnet: WordNet) -> list[str]:
    """Return words of a vocabulary that are most likely names, sorted.

    Those are whole words of letters that no kind, action or property is called by in WordNet, and
    that no ending makes of one.

    Args:
        vocabulary: word pieces in lower case; what continues a word begins with `##`.
        wordnet: knows the common words.
    """
    common = common_words(wordnet)
    return sorted(
        word
        for word in set(vocabulary)
        if len(word) >= MIN_LETTERS and word.isascii() and word.isalpha()
        if not _is_common(word, common)
    )


def _is_common(word: str, common: set[str]) -> bool:
    if word in common:
        return True
    stems = {word.removesuffix(ending) for ending in ENDINGS if word.endswith(ending)}
    stems |= {f"{stem}e" for stem in stems} | {f"{stem}y" for stem in stems}
    stems |= {stem[:-1] for stem in stems if len(stem) > 1 and stem[-1] in (stem[-2], "i")}
    stems |= {f"{stem}y" for stem in stems}
    return not stems.isdisjoint(common)


def invented(rng: random.Random) -> str:
    """Return a name of two or three syllables that nobody has, most likely."""
    syllables = [
        rng.choice(ONSETS) + rng.choice(NUCLEI) + rng.choice(CODAS)
        for _ in range(rng.choice((2, 2, 3)))
    ]
    return "".join(syllables).capitalize()
