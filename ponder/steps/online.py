"""What users' choices say about rankers that were shown to them: logs in files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

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
