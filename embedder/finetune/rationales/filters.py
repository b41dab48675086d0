"""Filters that flag rationales before anybody judges them.

Nothing is thrown away here: what is wrong with a generated at first sight is a flag on it.

empty      neither text nor summary has a letter or a digit
too_long   more tokens or characters than a path may have
control    spells a control token or a tag of some chat format
duplicate  says what an earlier generated about the same content says
leak       tells what its partner says (`embedder.finetune.rationales.leaks`; known only once it is
paired)
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from embedder.finetune.records import GeneratedRationale

_CONTROL = re.compile(r"<\s?\|[^<>|]{1,40}\|>|</?(?:think|answer|tool_call)>")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterConfig:
    """What is flagged."""

    max_tokens: int = 512
    """Longer ones are `too_long`."""

    max_chars: int = 4_000
    """Of text and summary together, for workers that do not count their tokens."""

    near: float = 0.9
    """Texts that share this part of their word pairs are duplicates, in (0, 1]."""

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_chars"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.near <= 1:
            raise ValueError(f"near must be in (0, 1], got {self.near}")


def flagged_rationales(written: pl.DataFrame, config: FilterConfig) -> list[GeneratedRationale]:
    """Return the rationales with their flags, sorted by content, worker and prompt version.

    Args:
        written: rows of the table `generated_rationales`, in any order; failures are left out.
        config: what is flagged.
    """
    rows = (
        written.filter(pl.col("failure").is_null())
        .drop("failure")
        .sort("side", "key", "worker", "prompt_version")
    )
    found = []
    for _, about in rows.group_by("side", "key", maintain_order=True):
        earlier: list[_Said] = []
        for row in about.iter_rows(named=True):
            said = _Said.of(row["text"], row["summary"])
            flags = set(_flags(row["text"], row["summary"], row["num_tokens"], config))
            if any(said.is_near(other, config.near) for other in earlier):
                flags.add("duplicate")
            earlier.append(said)
            found.append(GeneratedRationale(**row, flags=frozenset(flags)))
    return found


def _flags(text: str, summary: str, num_tokens: int, config: FilterConfig) -> Iterable[str]:
    if not _WORD.search(text + summary):
        yield "empty"
    if num_tokens > config.max_tokens or len(text) + len(summary) > config.max_chars:
        yield "too_long"
    if _CONTROL.search(f"{text} {summary}"):
        yield "control"


@dataclass(frozen=True, slots=True)
class _Said:
    """A rationale without what does not change what it says: input, spaces, punctuation."""

    text: tuple[str, ...]
    summary: tuple[str, ...]

    @classmethod
    def of(cls, text: str, summary: str) -> "_Said":
        return cls(tuple(words(text)), tuple(words(summary)))

    def is_near(self, other: "_Said", near: float) -> bool:
        # One wrong word in a long text is a small part of it, and shows in the outcome.
        if self.summary != other.summary:
            return False
        return self.text == other.text or _overlap(self.text, other.text) >= near


def words(text: str) -> list[str]:
    """Return the words of a text in lower case.

    >>> words("3 Red-striped MUGS!")
    ['3', 'red', 'striped', 'mugs']
    """
    return _WORD.findall(text.casefold())


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """Jaccard similarity of the word pairs that follow each other; 0 without any."""
    pairs = [set(pairwise(said)) for said in (one, other)]
    either = pairs[0] | pairs[1]
    return len(pairs[0] & pairs[1]) / len(either) if either else 0.0
