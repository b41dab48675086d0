"""Groups of features: what is made together, and what is made unless somebody asks for more."""

from collections.abc import Iterable
from typing import Literal, get_args

FeatureGroup = Literal[
    "context", "collaborative", "swing", "match", "feedback", "clusters", "behaviour", "codes"
]

GROUPS: tuple[FeatureGroup, ...] = get_args(FeatureGroup)
"""All there are, in the order of their columns."""

DEFAULT_GROUPS: tuple[FeatureGroup, ...] = ("context", "collaborative", "match", "feedback")
"""The set `default`. The others were built and measured, and add nothing to these on the logs that
we have (docs/results.md, five bazaars and MovieLens), so nobody pays for them unasked."""

VECTOR_GROUPS: tuple[FeatureGroup, ...] = ("match", "feedback", "clusters", "codes")
"""Groups that compare the embedder's vectors; the others need none."""


def groups_named(text: str) -> tuple[FeatureGroup, ...]:
    """Return the groups of a set, in order: names with commas between, of groups and of sets.

    Raises:
        ValueError: a name that is none, or no name at all.

    Example:
        >>> groups_named("default,swing")
        ('context', 'collaborative', 'swing', 'match', 'feedback')
    """
    sets = {"default": DEFAULT_GROUPS, "all": GROUPS}
    names = [name.strip() for name in text.split(",")]
    chosen = {group for name in names for group in sets.get(name, (name,))}
    if unknown := chosen - set(GROUPS):
        raise ValueError(
            f"a set of features must name default, all or some of {', '.join(GROUPS)}, with commas "
            f"between, got {sorted(unknown)}"
        )
    return in_order(chosen)


def in_order(chosen: Iterable[str]) -> tuple[FeatureGroup, ...]:
    """Return groups in the order of their columns, each once."""
    among = set(chosen)
    return tuple(group for group in GROUPS if group in among)
