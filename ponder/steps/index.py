"""Bring the index in line with the lake, judge it, and choose the version that is served."""

from dataclasses import asdict

from ponder.settings import Settings
from ponder.steps.land import Counts
from ponder.wiring import configured_version, living_vectors, open_index, open_lake


class ValidationFailed(RuntimeError):
    """A filled collection must not go live; the text lists why, and the live one stays."""


def index(settings: Settings) -> Counts:
    """Makes the configured version's collection equal to the lake; nobody queries it yet."""
    version = configured_version(settings)
    rows = living_vectors(open_lake(settings), version)
    if rows.is_empty():
        raise ValueError(f"version {version!r} has embedded no living item; land and embed first")
    with open_index(settings) as milvus:
        report = milvus.sync(version, rows, dim=len(rows["vector"][0]))
    return {"model_version": version, **asdict(report)}


def validate(settings: Settings, *, sample: int = 200, seed: int = 0) -> Counts:
    """Judges the configured version's collection.

    Raises:
        ValidationFailed: it must not go live.
    """
    from recall.validation import validate

    version = configured_version(settings)
    rows = living_vectors(open_lake(settings), version)
    with open_index(settings) as milvus:
        validation = validate(milvus, version, rows, sample=sample, seed=seed)
    if not validation.passed:
        raise ValidationFailed(f"version {version!r}: " + "; ".join(validation.problems))
    return asdict(validation)


def promote(settings: Settings) -> Counts:
    """Serves the configured version from now on."""
    version = configured_version(settings)
    with open_index(settings) as milvus:
        before = milvus.live_version()
        milvus.promote(version)
    return {"live": version, "before": before}


def rollback(settings: Settings) -> Counts:
    """Serves the version that was live before."""
    with open_index(settings) as milvus:
        return {"live": milvus.rollback()}
