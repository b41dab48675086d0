"""Judge rationales: log-odds of a pair with the rationale, without, and elsewhere.

Without a rationale its place is left out (an intervention), not filled with an empty one.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from statistics import fmean

import polars as pl

from embedder.content import Content, Side
from embedder.finetune.rationales.config import JudgingConfig
from embedder.finetune.rationales.judges.judge import Judge, JudgeInput
from embedder.finetune.rationales.negatives import Negatives
from embedder.finetune.rationales.paired import PairedRationale
from embedder.finetune.records import GeneratedRationale
from embedder.reasoners.reasoner import Rationale

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

InputKey = tuple[str, Side, Rationale | None, int]
"""pair_id, side, rationale, and which partner: 0 is the pair's own, n its n-th negative."""


def judge_rationales(
    paired_rationales: Sequence[PairedRationale],
    judge: Judge,
    negatives: Mapping[str, Negatives],
    config: JudgingConfig,
    *,
    judged: pl.DataFrame,
    append: Callable[[pl.DataFrame], object],
) -> None:
    """Put every paired rationale that is not in `judged` yet before the judge.

    What comes is handed to `append` every 64 pairs, so a killed run, called again with what was
    appended, goes on where it stopped.

    Args:
        paired_rationales: all of them, in the order of their pairs, also of pairs that were judged
            before.
        judge: gives log-odds.
        negatives: by pair_id.
        config: what is judged.
        judged: layout of `JUDGED`, from earlier calls with the same judge and configuration.
        append: keeps more rows of the same layout.

    Raises:
        ValueError: a pair has fewer negatives than `num_negatives`, or `against_shuffled` finds
            rationales about a single content only.
        ReasonerOutage: the judge answers nobody; what was judged before is kept.
    """
    done = set(judged["pair_id"])
    fair = [paired for paired in paired_rationales if not paired.flags & config.refused]
    shuffled = _shuffled(fair) if config.against_shuffled else _controls(fair, config.num_controls)
    waiting = [paired for paired in paired_rationales if paired.pair.pair_id not in done]
    for chunk in _chunks(waiting):
        judge_inputs: dict[InputKey, JudgeInput] = {}
        for paired in chunk:
            if not paired.flags & config.refused:
                own = negatives[paired.pair.pair_id]
                judge_inputs |= _judge_inputs(paired, own, shuffled.get(paired.generated), config)
        odds = dict(
            zip(judge_inputs, judge.log_odds(list(judge_inputs.values())).tolist(), strict=True)
        )
        rows = [_row(paired, shuffled.get(paired.generated), odds, config) for paired in chunk]
        append(pl.DataFrame(rows, schema=JUDGED, orient="row"))
        logger.info(
            "judge=%s paired_rationales=%d judge_inputs=%d",
            judge.name,
            len(rows),
            len(judge_inputs),
        )


def unjudged(paired_rationales: Sequence[PairedRationale]) -> pl.DataFrame:
    """Rows of `JUDGED` of which nobody was asked, for a selection that keeps all."""
    rows = [(*_identity(paired), None, None, None, None) for paired in paired_rationales]
    return pl.DataFrame(rows, schema=JUDGED, orient="row")


def _judge_inputs(
    paired: PairedRationale, negatives: Negatives, shuffled: Rationale | None, config: JudgingConfig
) -> dict[InputKey, JudgeInput]:
    """Return all inputs for one paired rationale; what several of them need has one key."""
    others = negatives.items if paired.side == "query" else negatives.queries
    if len(others) < config.num_negatives:
        raise ValueError(
            f"every pair must have {config.num_negatives} negatives, got {len(others)} for "
            f"{paired.pair.pair_id!r} ({paired.side} side); raise num_others of the negatives"
        )
    asked: list[tuple[Rationale | None, int]] = [
        (rationale, number)
        for rationale in (None, paired.rationale)
        for number in range(config.num_negatives + 1)
    ]
    if shuffled is not None:
        asked.append((shuffled, 0))
    return {
        (paired.pair.pair_id, paired.side, rationale, number): _judge_input(
            paired, others, rationale, number
        )
        for rationale, number in asked
    }


def _judge_input(
    paired: PairedRationale, others: tuple[Content, ...], rationale: Rationale | None, number: int
) -> JudgeInput:
    pair, side = paired.pair, paired.side
    partner = pair.target if side == "query" else pair.query
    if number:
        # Where a negative stands in the partner's place, the partner stands among the others.
        partner, others = others[number - 1], (partner, *others[: number - 1], *others[number:])
    query, target = (pair.query, partner) if side == "query" else (partner, pair.target)
    return JudgeInput(query, target, side, rationale, others)


def _row(
    paired: PairedRationale,
    shuffled: Rationale | None,
    odds: Mapping[InputKey, float],
    config: JudgingConfig,
) -> tuple[object, ...]:
    identity, where = _identity(paired), (paired.pair.pair_id, paired.side)
    if paired.flags & config.refused:
        return (*identity, None, None, None, None)
    on_negatives = [
        odds[*where, paired.rationale, n] - odds[*where, None, n]
        for n in range(1, config.num_negatives + 1)
    ]
    return (
        *identity,
        odds[*where, None, 0],
        odds[*where, paired.rationale, 0],
        None if shuffled is None else odds[*where, shuffled, 0],
        fmean(on_negatives) if on_negatives else None,
    )


def _identity(paired: PairedRationale) -> tuple[object, ...]:
    """The first columns of `JUDGED`: whose rationale it is, and what it says."""
    generated = paired.generated
    return (
        *(paired.pair.pair_id, paired.pair.source, paired.side, generated.key),
        *(generated.worker, generated.prompt_version, generated.text, generated.summary),
        *(generated.num_tokens, sorted(paired.flags)),
    )


def _shuffled(paired_rationales: Sequence[PairedRationale]) -> dict[GeneratedRationale, Rationale]:
    """Return for every generated rationale one about another content, of the same side.

    It is the same worker's where that wrote about another content: it looks alike. Digests of the
    rationales decide which, so the order in which they come does not.
    """
    lent: dict[GeneratedRationale, Rationale] = {}
    for side in ("query", "item"):
        ring = sorted({o.generated for o in paired_rationales if o.side == side}, key=_digest)
        if ring and len({generated.key for generated in ring}) < 2:
            raise ValueError(
                f"against_shuffled needs rationales about two contents of the {side} side at "
                "least, got one; leave it off"
            )
        for place, generated in enumerate(ring):
            own = _following(ring, place, generated.worker)
            other = next(chain(own, _following(ring, place, None)))
            lent[generated] = Rationale(other.text, other.summary)
    return lent


def _following(
    ring: Sequence[GeneratedRationale], place: int, worker: str | None
) -> Iterator[GeneratedRationale]:
    """Yield those about other contents, from a place on; of one worker, or None: of all."""
    for step in range(1, len(ring)):
        other = ring[(place + step) % len(ring)]
        if other.key != ring[place].key and worker in (None, other.worker):
            yield other


def _controls(
    paired_rationales: Sequence[PairedRationale], number: int
) -> dict[GeneratedRationale, Rationale]:
    """Return the same for so many generated rationales of each side; none of a single content."""
    lent: dict[GeneratedRationale, Rationale] = {}
    for side in ("query", "item"):
        of_side = [one for one in paired_rationales if one.side == side]
        if len({one.generated.key for one in of_side}) > 1:
            own = _shuffled(of_side)
            lent |= {generated: own[generated] for generated in sorted(own, key=_digest)[:number]}
    return lent


def _digest(generated: GeneratedRationale) -> bytes:
    parts = (generated.key, generated.worker, generated.prompt_version, generated.text)
    return hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass")).digest()


def _chunks(paired_rationales: Sequence[PairedRationale]) -> Iterator[list[PairedRationale]]:
    """Yield the paired rationales of 64 pairs at a time; those of one pair follow each other."""
    of_pairs = [
        list(group) for _, group in groupby(paired_rationales, key=lambda o: o.pair.pair_id)
    ]
    for start in range(0, len(of_pairs), CHUNK):
        yield [paired for group in of_pairs[start : start + CHUNK] for paired in group]
