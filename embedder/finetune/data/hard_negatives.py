"""Hard negatives by a threshold that is fitted to each source (SAIL-Embedding, section 3.1.2).

What scores at least the threshold without being labelled is taken for an answer that nobody clicked
and is dropped; the hard negatives of a query are what comes right below. They are those of the
model as it is: mine again before each stage, for what is hard moves with the model.

Shape legend: Q = queries, T = targets, C = queries scored at once, P = positive pairs,
  H = hard negatives per query, L = distinct scores of positives
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from embedder.content import Content, Encoder
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


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """Hard negatives and what the threshold did."""

    rows_QH: np.ndarray
    """Rows of the targets, hardest first; -1 where a query has fewer."""

    threshold: float
    """Cosine from which an unlabelled pair counts as a false negative."""

    f1: float
    """Of "positive if it scores at least the threshold", in [0, 1]."""

    num_dropped: int
    """Unlabelled pairs that score at least the threshold."""


def with_hard_negatives(
    pairs: Sequence[Pair], encoder_of: Callable[[str], Encoder], *, num_negatives: int
) -> tuple[list[Pair], pl.DataFrame]:
    """Return the pairs with new hard negatives in place of any they had, and a report by source.

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


def f1_threshold(positive_P: np.ndarray, negatives: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return the score from which on "positive" is the best guess by F1, and that F1.

    Exact: a threshold between two positives' scores only adds false positives to the upper one, so
    the best is one of the positives' scores. Of several with the same F1 the highest is taken,
    which drops the fewest negatives. Takes ``(P + N) log P`` steps for N negatives.

    Args:
        positive_P: scores of labelled pairs.
        negatives: scores of all other pairs, in any number of arrays.

    Raises:
        ValueError: there are no positives.
    """
    if not positive_P.size:
        raise ValueError("a threshold needs labelled pairs, got none")
    levels_L, num_at_L = np.unique(positive_P, return_counts=True)
    # Place n counts the negatives that reach exactly the n lowest levels.
    num_reaching = np.zeros(len(levels_L) + 1, dtype=np.int64)
    for scores in negatives:
        reached = np.searchsorted(levels_L, scores.ravel(), side="right")
        num_reaching += np.bincount(reached, minlength=len(levels_L) + 1)
    true_L = num_at_L[::-1].cumsum()[::-1]
    false_L = num_reaching[::-1].cumsum()[::-1][1:]
    f1_L = 2 * true_L / (true_L + false_L + positive_P.size)
    best = len(f1_L) - 1 - int(f1_L[::-1].argmax())
    return float(levels_L[best]), float(f1_L[best])


def mine(
    query_QD: np.ndarray,
    target_TD: np.ndarray,
    positive_P2: np.ndarray,
    *,
    num_negatives: int,
    max_scores: int = 4_000_000,
) -> Mined:
    """Find the threshold of a source and every query's hard negatives below it.

    Every query is scored with every target, three times over, in pieces that fit into memory.
    Scores are rounded to float32, so that equal contents tie; ties go to the lower row.

    Args:
        query_QD: distinct queries, L2-normalised.
        target_TD: distinct targets, L2-normalised, sorted by id.
        positive_P2: (query row, target row) of every labelled pair, each once.
        num_negatives: H.
        max_scores: scores held at once; a query's own targets always are. 4 million are 32 MB.

    Raises:
        ValueError: there are no labelled pairs.
    """
    is_positive = _Labels(positive_P2, len(query_QD), len(target_TD))
    positive_P = np.concatenate(
        [
            scores_CT[is_positive(rows)]
            for rows, scores_CT in _scores(query_QD, target_TD, max_scores)
        ]
        or [np.empty(0)]
    )
    threshold, f1 = f1_threshold(
        positive_P,
        (
            scores_CT[~is_positive(rows)]
            for rows, scores_CT in _scores(query_QD, target_TD, max_scores)
        ),
    )
    rows_QH = np.full((len(query_QD), num_negatives), -1, dtype=np.int64)
    num_dropped = 0
    for rows, scores_CT in _scores(query_QD, target_TD, max_scores):
        above_CT = scores_CT >= threshold
        num_dropped += int((above_CT & ~is_positive(rows)).sum())
        rows_QH[rows] = _highest(scores_CT, above_CT | is_positive(rows), num_negatives)
    return Mined(rows_QH, threshold, f1, num_dropped)


class _Labels:
    """Which targets are labelled for a piece of the queries."""

    def __init__(self, positive_P2: np.ndarray, num_queries: int, num_targets: int) -> None:
        self._pairs = positive_P2[np.argsort(positive_P2[:, 0], kind="stable")]
        self._begin = np.searchsorted(self._pairs[:, 0], np.arange(num_queries + 1))
        self._num_targets = num_targets

    def __call__(self, rows: slice) -> np.ndarray:
        """Return [C, T], True where the pair is labelled."""
        pairs = self._pairs[self._begin[rows.start] : self._begin[rows.stop]]
        labelled_CT = np.zeros((rows.stop - rows.start, self._num_targets), dtype=bool)
        labelled_CT[pairs[:, 0] - rows.start, pairs[:, 1]] = True
        return labelled_CT


def _scores(
    query_QD: np.ndarray, target_TD: np.ndarray, max_scores: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows of queries with their [C, T] cosines, float32 out of float64 products."""
    wide_DT = target_TD.astype(np.float64).T
    size = max(1, max_scores // len(target_TD))
    for start in range(0, len(query_QD), size):
        rows = slice(start, min(start + size, len(query_QD)))
        yield rows, (query_QD[rows].astype(np.float64) @ wide_DT).astype(np.float32)


def _highest(scores_CT: np.ndarray, is_barred_CT: np.ndarray, num: int) -> np.ndarray:
    """Return [C, num] columns of the highest scores not barred, ties to the left; -1 pads."""
    order_CT = np.argsort(np.where(is_barred_CT, np.inf, -scores_CT), axis=1, kind="stable")
    taken = order_CT[:, :num]
    is_left = np.take_along_axis(is_barred_CT, taken, axis=1)
    padding = np.full((len(taken), num - taken.shape[1]), -1)
    return np.concatenate([np.where(is_left, -1, taken), padding], axis=1)
