"""What a judge says of offers: log-odds of a pair with the rationale, without, and elsewhere.

Without a rationale its place is left out (an intervention), not filled with an empty one.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

import polars as pl

from embedder.content import Content
from embedder.finetune.rationales.judges.judge import Case, Judge
from embedder.finetune.rationales.negatives import Contrast
from embedder.finetune.rationales.paired import Offer
from embedder.finetune.records import Candidate
from embedder.reasoners.reasoner import Rationale, Side

logger = logging.getLogger(__name__)

_TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "pair_id": pl.String,
    "source": pl.String,
    "side": pl.String,
    "key": pl.String,  # of the content that the rationale is about
    "worker": pl.String,
    "prompt_version": pl.String,
    "text": pl.String,
    "summary": pl.String,
    "num_tokens": pl.Int32,
    "flags": pl.List(pl.String),  # sorted
    # Log-odds of a match in nats; null where nobody was asked, NaN where the judge failed.
    "without": pl.Float64,
    "with": pl.Float64,
    "with_shuffled": pl.Float64,
    "gain_on_negatives": pl.Float64,
}
JUDGED = pl.Schema(_TYPES)

CHUNK = 64  # pairs after which what was judged is kept

CaseKey = tuple[str, Side, Rationale | None, int]
"""pair_id, side, rationale, and which partner: 0 is the pair's own, n its n-th negative."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgingConfig:
    """What is put before the judge."""

    num_negatives: int = 0
    """A rationale's gain is also measured on so many negatives of its pair (SURE finds that 15.7 %
    of UME-R1's rationales help hard negatives more); 0: as MMEmb-R1 is described."""

    against_shuffled: bool = False
    """Each pair is also judged with a rationale that was written about another content. One that
    helps by its looks alone does no better. (Our addition.)"""

    refused: frozenset[str] = frozenset({"control", "duplicate", "empty", "leak", "too_long"})
    """Flags with which a rationale is not even judged."""

    def __post_init__(self) -> None:
        if self.num_negatives < 0:
            raise ValueError(f"num_negatives must be at least 0, got {self.num_negatives}")


def judge_offers(
    offers: Sequence[Offer],
    judge: Judge,
    contrasts: Mapping[str, Contrast],
    config: JudgingConfig,
    *,
    judged: pl.DataFrame,
    append: Callable[[pl.DataFrame], object],
) -> None:
    """Puts every offer of every pair that is not in `judged` yet before the judge.

    What comes is handed to `append` every 64 pairs, so a killed run, called again with what was
    appended, goes on where it stopped.

    Args:
        offers: all of them, in the order of their pairs, also of pairs that were judged before.
        judge: gives log-odds.
        contrasts: by pair_id.
        config: what is judged.
        judged: layout of `JUDGED`, from earlier calls with the same judge and configuration.
        append: keeps more rows of the same layout.

    Raises:
        ValueError: a pair has fewer contrasts than `num_negatives`, or `against_shuffled` finds
            rationales about a single content only.
        ReasonerOutage: the judge answers nobody; what was judged before is kept.
    """
    done = set(judged["pair_id"])
    fair = [offer for offer in offers if not offer.flags & config.refused]
    shuffled = _shuffled(fair) if config.against_shuffled else {}
    waiting = [offer for offer in offers if offer.pair.pair_id not in done]
    for chunk in _chunks(waiting):
        cases: dict[CaseKey, Case] = {}
        for offer in chunk:
            if not offer.flags & config.refused:
                contrast = contrasts[offer.pair.pair_id]
                cases |= _cases(offer, contrast, shuffled.get(offer.candidate), config)
        odds = dict(zip(cases, judge.log_odds(list(cases.values())).tolist(), strict=True))
        rows = [_row(offer, shuffled.get(offer.candidate), odds, config) for offer in chunk]
        append(pl.DataFrame(rows, schema=JUDGED, orient="row"))
        logger.info("judge=%s offers=%d cases=%d", judge.name, len(rows), len(cases))


def _cases(
    offer: Offer, contrast: Contrast, shuffled: Rationale | None, config: JudgingConfig
) -> dict[CaseKey, Case]:
    """All that has to be known for one offer; what several offers need has one key."""
    others = contrast.items if offer.side == "query" else contrast.queries
    if len(others) < config.num_negatives:
        raise ValueError(
            f"every pair must have {config.num_negatives} negatives, got {len(others)} for "
            f"{offer.pair.pair_id!r} ({offer.side} side); raise num_others of the contrasts"
        )
    asked: list[tuple[Rationale | None, int]] = [
        (rationale, number)
        for rationale in (None, offer.rationale)
        for number in range(config.num_negatives + 1)
    ]
    if shuffled is not None:
        asked.append((shuffled, 0))
    return {
        (offer.pair.pair_id, offer.side, rationale, number): _case(offer, others, rationale, number)
        for rationale, number in asked
    }


def _case(
    offer: Offer, others: tuple[Content, ...], rationale: Rationale | None, number: int
) -> Case:
    pair, side = offer.pair, offer.side
    partner = pair.target if side == "query" else pair.query
    if number:
        # Where a negative stands in the partner's place, the partner stands among the others.
        partner, others = others[number - 1], (partner, *others[: number - 1], *others[number:])
    query, target = (pair.query, partner) if side == "query" else (partner, pair.target)
    return Case(query, target, side, rationale, others)


def _row(
    offer: Offer,
    shuffled: Rationale | None,
    odds: Mapping[CaseKey, float],
    config: JudgingConfig,
) -> tuple[object, ...]:
    candidate, where = offer.candidate, (offer.pair.pair_id, offer.side)
    identity = (
        *(offer.pair.pair_id, offer.pair.source, offer.side, candidate.key),
        *(candidate.worker, candidate.prompt_version, candidate.text, candidate.summary),
        *(candidate.num_tokens, sorted(offer.flags)),
    )
    if offer.flags & config.refused:
        return (*identity, None, None, None, None)
    on_negatives = [
        odds[*where, offer.rationale, n] - odds[*where, None, n]
        for n in range(1, config.num_negatives + 1)
    ]
    return (
        *identity,
        odds[*where, None, 0],
        odds[*where, offer.rationale, 0],
        None if shuffled is None else odds[*where, shuffled, 0],
        fmean(on_negatives) if on_negatives else None,
    )


def _shuffled(offers: Sequence[Offer]) -> dict[Candidate, Rationale]:
    """For every candidate one about another content, of the same side.

    Digests of the candidates decide which, so the order in which they come does not.
    """
    lent: dict[Candidate, Rationale] = {}
    for side in ("query", "item"):
        ring = sorted({o.candidate for o in offers if o.side == side}, key=_digest)
        if ring and len({candidate.key for candidate in ring}) < 2:
            raise ValueError(
                f"against_shuffled needs rationales about two contents of the {side} side at "
                "least, got one; leave it off"
            )
        for place, candidate in enumerate(ring):
            following = (*ring[place + 1 :], *ring[:place])
            other = next(lender for lender in following if lender.key != candidate.key)
            lent[candidate] = Rationale(other.text, other.summary)
    return lent


def _digest(candidate: Candidate) -> bytes:
    parts = (candidate.key, candidate.worker, candidate.prompt_version, candidate.text)
    return hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass")).digest()


def _chunks(offers: Sequence[Offer]) -> Iterator[list[Offer]]:
    """The offers of 64 pairs at a time; those of one pair follow each other."""
    of_pairs = [list(group) for _, group in groupby(offers, key=lambda o: o.pair.pair_id)]
    for start in range(0, len(of_pairs), CHUNK):
        yield [offer for group in of_pairs[start : start + CHUNK] for offer in group]
