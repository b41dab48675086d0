"""Rationales in the place where they would be used: on one side of one pair."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from embedder.content import Content
from embedder.finetune.data.pairs import Pair
from embedder.finetune.rationales.leaks import leaks
from embedder.finetune.records import Candidate
from embedder.reasoners.cache import content_key
from embedder.reasoners.reasoner import Rationale, Side

BOTH_SIDES: tuple[Side, ...] = ("query", "item")


@dataclass(frozen=True, slots=True)
class Offer:
    """A candidate for one side of a pair."""

    pair: Pair
    side: Side
    candidate: Candidate

    flags: frozenset[str]
    """The candidate's, and `leak` where it tells what the partner says."""

    @property
    def rationale(self) -> Rationale:
        """The candidate as a judge reads it."""
        return Rationale(self.candidate.text, self.candidate.summary)


def offers(
    pairs: Sequence[Pair],
    candidates: Sequence[Candidate],
    *,
    names: Mapping[str, Collection[str]],
    sides: Sequence[Side] = BOTH_SIDES,
) -> list[Offer]:
    """Every candidate on every pair that it could serve, in the order of pairs and candidates.

    Args:
        pairs: with ids of their own.
        candidates: about any contents.
        names: by query_key and target_key, what identifies that side (id, brand, full title): a
            rationale about the other side that tells one of them is a leak.
        sides: those that are to be reasoned about.

    Raises:
        ValueError: two pairs have one id, or one has none.
    """
    ids = [pair.pair_id for pair in pairs]
    if "" in ids or len(set(ids)) < len(ids):
        raise ValueError(
            f"every pair must have a pair_id of its own, got {len(set(ids) - {''})} for "
            f"{len(ids)} pairs"
        )
    about: dict[tuple[str, Side], list[Candidate]] = {}
    for candidate in candidates:
        about.setdefault((candidate.key, candidate.side), []).append(candidate)
    return [
        _offer(pair, side, candidate, names)
        for pair in pairs
        for side in sides
        for candidate in about.get((content_key(_sides(pair, side)[0]), side), ())
    ]


def _offer(
    pair: Pair, side: Side, candidate: Candidate, names: Mapping[str, Collection[str]]
) -> Offer:
    own, partner = _sides(pair, side)
    leaked = leaks(
        f"{candidate.text}\n{candidate.summary}",
        partner.text,
        own=own.text,
        names=names.get(pair.target_key if side == "query" else pair.query_key, ()),
    )
    return Offer(pair, side, candidate, candidate.flags | {"leak"} if leaked else candidate.flags)


def _sides(pair: Pair, side: Side) -> tuple[Content, Content]:
    """What a rationale on this side is about, and its partner."""
    return (pair.query, pair.target) if side == "query" else (pair.target, pair.query)
