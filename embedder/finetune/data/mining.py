"""Gives the pairs of every source their hard negatives, as the model sees them now.

To be called again before each stage: what is hard for one state of the model no longer is for the
next.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from embedder.content import Content, Encoder
from embedder.finetune.data.hard_negatives import Mined, mine
from embedder.finetune.data.pairs import Negative, Pair

REPORT = {
    "source": pl.String,
    "threshold": pl.Float64,  # cosine from which unlabelled pairs are dropped as false negatives
    "f1": pl.Float64,  # of the threshold on this source, in [0, 1]
    "num_queries": pl.Int64,
    "num_targets": pl.Int64,
    "num_dropped": pl.Int64,  # unlabelled pairs of query and target at or above the threshold
    "num_negatives": pl.Int64,  # over all queries
}


def with_hard_negatives(
    pairs: Sequence[Pair], encoder_of: Callable[[str], Encoder], *, num_negatives: int
) -> tuple[list[Pair], pl.DataFrame]:
    """The pairs with hard negatives in place of any they had, and a report by source.

    The targets of a source are its candidates. Of contents with equal keys the first is embedded,
    directly, without reasoning.

    Args:
        pairs: of any number of sources.
        encoder_of: the model as it reads a source, by the source's name.
        num_negatives: most hard negatives per query.

    Returns:
        The pairs in their order, and a frame with the columns of `REPORT`, sorted by source.
    """
    by_source: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_source.setdefault(pair.source, []).append(pair)
    negatives: dict[tuple[str, str], tuple[Negative, ...]] = {}
    rows = []
    for source, own in sorted(by_source.items()):
        queries = {pair.query_key: pair.query for pair in reversed(own)}
        targets = {pair.target_key: pair.target for pair in reversed(own)}
        targets = {key: targets[key] for key in sorted(targets)}
        mined = _mined(own, queries, targets, encoder_of(source), num_negatives)
        candidates = [Negative(content, key) for key, content in targets.items()]
        for query_key, columns in zip(queries, mined.rows_QH, strict=True):
            hardest = tuple(candidates[column] for column in columns if column >= 0)
            negatives[source, query_key] = hardest
        num_mined = int((mined.rows_QH >= 0).sum())
        sizes = (len(queries), len(targets))
        rows.append((source, mined.threshold, mined.f1, *sizes, mined.num_dropped, num_mined))
    report = pl.DataFrame(rows, schema=REPORT, orient="row")
    hardened = [replace(pair, negatives=negatives[pair.source, pair.query_key]) for pair in pairs]
    return hardened, report


def _mined(
    pairs: Sequence[Pair],
    queries: dict[str, Content],
    targets: dict[str, Content],
    encoder: Encoder,
    num_negatives: int,
) -> Mined:
    query_encodings = encoder.encode_query(list(queries.values()), policy="never")
    target_encodings = encoder.encode_items(list(targets.values()), policy="never")
    query_row = {key: row for row, key in enumerate(queries)}
    target_row = {key: row for row, key in enumerate(targets)}
    labelled = {
        (query_row[pair.query_key], target_row[key])
        for pair in pairs
        for key in (pair.target_key, *pair.answers)
        if key in target_row
    }
    return mine(
        np.stack([encoding.vector for encoding in query_encodings]),
        np.stack([encoding.vector for encoding in target_encodings]),
        np.array(sorted(labelled)),
        num_negatives=num_negatives,
    )
