"""Paired rationales: each on the side of a pair where it would be used."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from embedder.content import Content, Side
from embedder.finetune.data.pairs import Pair
from embedder.finetune.rationales.leaks import leaks
from embedder.finetune.records import GeneratedRationale
from embedder.reasoners.cache import content_key
from embedder.reasoners.reasoner import Rationale

BOTH_SIDES: tuple[Side, ...] = ("query", "item")


@dataclass(frozen=True, slots=True)
class PairedRationale:
    """A generated for one side of a pair."""

    pair: Pair
    side: Side
    generated: GeneratedRationale

    flags: frozenset[str]
    """The generated's, and `leak` where it tells what the partner says."""

    @property
    def rationale(self) -> Rationale:
        """The generated rationale as a judge reads it."""
        return Rationale(self.generated.text, self.generated.summary)


def pair_rationales(
    pairs: Sequence[Pair],
    generated_rationales: Sequence[GeneratedRationale],
    *,
    names: Mapping[str, Collection[str]],
    sides: Sequence[Side] = BOTH_SIDES,
) -> list[PairedRationale]:
    """Pair every generated rationale with every pair it could serve, in the order of both.

    Args:
        pairs: with ids of their own.
        generated_rationales: about any contents.
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
    about: dict[tuple[str, Side], list[GeneratedRationale]] = {}
    for generated in generated_rationales:
        about.setdefault((generated.key, generated.side), []).append(generated)
    return [
        _paired(pair, side, generated, names)
        for pair in pairs
        for side in sides
        for generated in about.get((content_key(_sides(pair, side)[0]), side), ())
    ]


def _paired(
    pair: Pair, side: Side, generated: GeneratedRationale, names: Mapping[str, Collection[str]]
) -> PairedRationale:
    own, partner = _sides(pair, side)
    leaked = leaks(
        f"{generated.text}\n{generated.summary}",
        partner.text,
        own=own.text,
        names=names.get(pair.target_key if side == "query" else pair.query_key, ()),
    )
    return PairedRationale(
        pair, side, generated, generated.flags | {"leak"} if leaked else generated.flags
    )


def _sides(pair: Pair, side: Side) -> tuple[Content, Content]:
    """Return what a rationale on this side is about, and its partner."""
    return (pair.query, pair.target) if side == "query" else (pair.target, pair.query)
