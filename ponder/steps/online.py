"""What users' choices say about rankers that were shown to them: logs in files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from catalog.atomic_file import write_atomically

if TYPE_CHECKING:
    from evaluation.interleaving import InterleavingOutcome
    from evaluation.off_policy import OffPolicyEstimate

READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".jsonl": pl.read_ndjson,
    ".csv": pl.read_csv,
    ".parquet": pl.read_parquet,
}


def interleaving_of(log: Path) -> "InterleavingOutcome":
    """Return which of two interleaved rankers users chose from.

    Args:
        log: a row for each choice; columns as of `evaluation.interleaving.interleaving_outcome`.

    Raises:
        ValueError: the file cannot be read, or is not such a log.
    """
    from evaluation.interleaving import interleaving_outcome

    return interleaving_outcome(_read(log))


@dataclass(frozen=True, kw_only=True, slots=True)
class InterleavedLists:
    """Lists of two rankers, written to be shown."""

    path: str
    num_requests: int
    num_rows: int


def write_interleaved(lists: Path, out: Path, *, top_k: int, seed: int = 0) -> InterleavedLists:
    """Write one list of two rankers for each request, to be shown instead of either.

    Args:
        lists: what both rank; columns as of `evaluation.interleaving.interleaved_requests`.
        out: JSON Lines: request_id, item_id, place and team. Of the items that are chosen, these
            rows with a user_id are what `interleaving_of` reads.
        top_k: items of a list.
        seed: of the coins.

    Raises:
        ValueError: the file cannot be read, or holds no such lists.
    """
    from evaluation.interleaving import interleaved_requests

    made = interleaved_requests(_read(lists), top_k=top_k, seed=seed)
    write_atomically(out, made.write_ndjson())
    return InterleavedLists(
        path=str(out), num_requests=made["request_id"].n_unique(), num_rows=len(made)
    )


def off_policy_of(log: Path, *, max_weight: float) -> "OffPolicyEstimate":
    """Return what another policy would have earned.

    Args:
        log: a row for each item shown; columns as of `evaluation.off_policy.off_policy`.
        max_weight: larger weights are cut to it.

    Raises:
        ValueError: the file cannot be read, or is not such a log.
    """
    from evaluation.off_policy import off_policy

    return off_policy(_read(log), max_weight=max_weight)


def _read(path: Path) -> pl.DataFrame:
    reader = READERS.get(path.suffix)
    if reader is None:
        raise ValueError(f"a log must end in {', '.join(READERS)}, got {path}")
    try:
        return reader(path)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} must be a table that can be read: {error}") from error
