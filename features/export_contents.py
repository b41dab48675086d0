"""What an export holds, feature by feature, and in what two of them differ."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from features.export import read_export, read_manifest
from features.table import KEY_COLUMNS

IDENTITY = ("schema_hash", "model_version", "vectors", "reference", "set", "protocol")
"""Fields of a manifest that say how an export was made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureValues:
    """The values of a feature."""

    name: str
    missing: float
    """Share of the rows."""

    least: float | None
    mean: float | None
    """Of the values that are there; None of none."""

    greatest: float | None
    distinct: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """In what two exports differ."""

    made_otherwise: list[str]
    """Fields of the manifest that say how each was made, and differ."""

    only_one: list[str]
    only_other: list[str]
    """Features that only one of them has."""

    rows_only_one: int
    rows_only_other: int
    """Rows that only one of them has."""

    rows: int
    """That both have."""

    differing: dict[str, int]
    """Of these, how many differ in a feature, or in relevance; those of none are left out."""

    largest: dict[str, float]
    """The largest difference of two values of a feature."""


def values_of(folder: Path) -> list[FeatureValues]:
    """Return what the values of each feature are, in column order.

    Raises:
        ValueError: there is no export, or it is not what its manifest says.
    """
    table = read_export(folder)
    return [_values(feature.name, table.frame[feature.name]) for feature in table.features]


def difference(one: Path, other: Path) -> Difference:
    """Return in what two exports differ; rows are the same when they are of one request and item.

    Raises:
        ValueError: one of them is no export, or not what its manifest says.
    """
    first, second = read_manifest(one), read_manifest(other)
    left, right = read_export(one), read_export(other)
    names = [feature.name for feature in left.features]
    others = [feature.name for feature in right.features]
    common = [name for name in [*names, "relevance"] if name in right.frame.columns]
    keys = list(KEY_COLUMNS)
    both = left.frame.join(right.frame, on=keys, how="inner", nulls_equal=True, suffix=" other")
    unlike = {name: ~pl.col(name).eq_missing(pl.col(f"{name} other")) for name in common}
    counts = both.select(expr.sum().alias(name) for name, expr in unlike.items()).row(0, named=True)
    apart = both.select(
        (pl.col(name).cast(pl.Float64) - pl.col(f"{name} other").cast(pl.Float64))
        .abs()
        .max()
        .alias(name)
        for name in common
    ).row(0, named=True)
    differing = {name: count for name, count in counts.items() if count}
    return Difference(
        made_otherwise=[name for name in IDENTITY if first.get(name) != second.get(name)],
        only_one=[name for name in names if name not in others],
        only_other=[name for name in others if name not in names],
        rows_only_one=len(left.frame) - len(both),
        rows_only_other=len(right.frame) - len(both),
        rows=len(both),
        differing=differing,
        largest={name: apart[name] for name in differing if apart[name] is not None},
    )


def _values(name: str, values: pl.Series) -> FeatureValues:
    known = values.drop_nulls().cast(pl.Float64)
    least, greatest, mean = known.min(), known.max(), known.mean()
    return FeatureValues(
        name=name,
        missing=values.null_count() / max(len(values), 1),
        least=least if isinstance(least, float) else None,
        mean=mean if isinstance(mean, float) else None,
        greatest=greatest if isinstance(greatest, float) else None,
        distinct=known.n_unique(),
    )
