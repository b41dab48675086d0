"""Select the rationales that make a pair's match more likely, and weigh them: the posterior.

MMEmb-R1 drops the rationales without which a judge is as sure of the pair as with them. Its formula
is not public; ours is a difference of log-odds, because probabilities of true pairs saturate:

    gain = z(q, t, r) - z(q, t)                      z: log-odds of a match, from a judge
         - mean_n [ z(q, n, r) - z(q, n) ]           hard negatives n, if asked for
    gain = min(gain, z(q, t, r) - z(q, t, r'))       r': of another content, if asked for
    kept: gain > min_gain
    weight_r = softmax over the kept r of one side of one pair (gain / temperature)
"""

from collections.abc import Sequence

import polars as pl

from embedder.finetune.data.pairs import Pair
from embedder.finetune.rationales.config import SelectionConfig
from embedder.finetune.records import TrainingExample, WeightedRationale


def select(
    judged: pl.DataFrame, config: SelectionConfig, *, against_shuffled: bool = False
) -> pl.DataFrame:
    """Return the judgements with `gain` (nats), `kept` and `weight`, in the order given.

    The gain is null where nobody was asked, and NaN where the judge failed; neither is kept. The
    weights of one side of one pair sum to 1, or are all 0 where nothing was kept.

    Args:
        judged: layout of `embedder.finetune.rationales.judging.JUDGED`.
        config: what is kept; another `min_gain` or `temperature` needs no new judgements.
        against_shuffled: whether a rationale must also do better than the one about another content
            that it was judged beside; else that is for the account alone.
    """
    if config.workers:
        judged = judged.filter(pl.col("worker").is_in(config.workers))
    if config.keeps == "all":
        share = (1 / pl.len().over("pair_id", "side")).alias("weight")
        return judged.with_columns(pl.lit(None, pl.Float64).alias("gain"), kept=True).with_columns(
            share
        )
    gain = pl.col("with") - pl.col("without") - pl.col("gain_on_negatives").fill_null(0)
    if against_shuffled:
        over_shuffled = (pl.col("with") - pl.col("with_shuffled")).fill_null(gain)
        # To Polars the smaller of a number and NaN is the number; adding nothing keeps the NaN.
        gain = pl.min_horizontal(gain, over_shuffled) + 0 * (gain + over_shuffled)
    is_kept = pl.col("gain").is_not_nan() & (pl.col("gain") > config.min_gain)
    scaled = pl.when("kept").then(pl.col("gain") / config.temperature)
    side = ("pair_id", "side")
    share = (scaled - scaled.max().over(side)).exp()
    return (
        judged.with_columns(gain=gain)
        .with_columns(kept=is_kept.fill_null(False))
        .with_columns(weight=(share / share.sum().over(side)).fill_null(0.0))
    )


def training_examples(pairs: Sequence[Pair], selected: pl.DataFrame) -> list[TrainingExample]:
    """Return an example for every pair, in order; a side with nothing kept has no rationales.

    Args:
        pairs: all of them, also those for which nothing was paired.
        selected: from `select`.
    """
    rationales: dict[tuple[str, str], list[WeightedRationale]] = {}
    kept = selected.filter("kept").sort("worker", "prompt_version", "text", "summary")
    for row in kept.iter_rows(named=True):
        rationale = WeightedRationale(row["text"], row["summary"], row["weight"], row["worker"])
        rationales.setdefault((row["pair_id"], row["side"]), []).append(rationale)
    return [
        TrainingExample(
            pair,
            tuple(rationales.get((pair.pair_id, "query"), ())),
            tuple(rationales.get((pair.pair_id, "item"), ())),
        )
        for pair in pairs
    ]
