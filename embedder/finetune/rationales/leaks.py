"""Detect leaks: rationales that tell what only their partner knows.

A worker sees one side of a pair. If it names the other side all the same (a title, a brand, an id),
it has seen it in some other way, and a judge will like the rationale for a reason that does not
exist when the model is used. The rule is ours; no paper gives one.
"""

from collections.abc import Iterable, Sequence

from embedder.finetune.rationales.filters import words

MIN_RUN = 5


def leaks(
    told: str, partner: str, *, own: str, names: Iterable[str] = (), min_run: int = MIN_RUN
) -> bool:
    """Whether `told` repeats the partner, in words that its own content does not hold.

    Images are not read: a name that stands in the own image counts as leaked.

    Args:
        told: text and summary of a rationale.
        partner: text of the content that it was not shown.
        own: text of the content that it is about.
        names: what identifies the partner (id, brand, full title); any of them is a leak.
        min_run: so many words of one line of the partner, in its order, are a leak. A right
            summary names the wanted values as a title does, so this must not be too small.

    >>> leaks("it must be the ACME one", "3 red mugs", own="mugs", names=["acme"])
    True
    """
    told_words, own_words = words(told), words(own)
    suspects = [words(name) for name in names]
    for line in partner.splitlines():
        told_by_partner = words(line)
        suspects += [
            told_by_partner[n : n + min_run] for n in range(len(told_by_partner) - min_run + 1)
        ]
    return any(
        suspect and _holds(told_words, suspect) and not _holds(own_words, suspect)
        for suspect in suspects
    )


def _holds(text: Sequence[str], part: Sequence[str]) -> bool:
    size = len(part)
    return any(text[n : n + size] == part for n in range(len(text) - size + 1))
