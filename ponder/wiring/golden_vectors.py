"""Refuse an embedder that loads differently from when its version was first used."""

import json
import logging
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.tables import GOLDEN_VECTORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from embedder.content import CatalogueEncoder

PACKAGES = ("torch", "transformers", "sentence-transformers", "tokenizers", "pillow", "numpy")
"""Whose releases are noted beside golden vectors, for whoever has to find out what changed."""

logger = logging.getLogger(__name__)


def check_golden_vectors(lake: Lake, encoder: "CatalogueEncoder", *, keeps: bool) -> None:
    """Compare what an encoder makes of fixed contents with what its version made of them at first.

    Args:
        lake: its table `golden_vectors` has what was made at first.
        encoder: as it was loaded here.
        keeps: keep what is made now where the lake has nothing of the version; without, whoever
            only asks leaves that to whoever embeds the catalogue.

    Raises:
        ValueError: they differ (`embedder.golden_vectors.MIN_COSINE`), so that its vectors must not
            stand beside those that the version has in the lake.
    """
    from embedder.golden_vectors import MIN_COSINE, departures, golden_vectors

    kept = lake.scan(GOLDEN_VECTORS).filter(model_version=encoder.version).collect()
    if kept.is_empty() and not keeps:
        return
    made = golden_vectors(encoder)
    if kept.is_empty():
        lake.insert_new(GOLDEN_VECTORS, _rows(encoder.version, made))
        logger.info("golden vectors kept: version=%s contents=%d", encoder.version, len(made))
        return
    golden = {row["content"]: pl.Series(row["vector"]).to_numpy() for row in kept.to_dicts()}
    differing = departures(golden, made)
    if differing:
        worst = min(differing, key=lambda name: (differing[name], name))
        raise ValueError(
            f"model version {encoder.version} must make the vectors that it made on "
            f"{kept['made_at'][0]:%Y-%m-%d}, at a cosine of at least {MIN_COSINE}, got "
            f"{differing[worst]:.4f} for its golden {worst!r}: it loads differently"
            f"{_changes(kept['made_with'][0])}. Go back to what it was made with; or give the "
            "model another name in its manifest.json, which makes it another version, and embed "
            "the catalogue with that"
        )


def _rows(model_version: str, made: "Mapping[str, np.ndarray]") -> pl.DataFrame:
    columns = {
        "model_version": [model_version] * len(made),
        "content": list(made),
        "vector": [list(vector) for vector in made.values()],
        "made_with": [json.dumps(_releases())] * len(made),
        "made_at": [datetime.now(UTC)] * len(made),
    }
    return pl.DataFrame(columns, schema=GOLDEN_VECTORS.schema)


def _releases() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _changes(made_with: str) -> str:
    """Return which packages are of another release than then, as a part of a sentence."""
    then, now = json.loads(made_with), _releases()
    changed = [
        f"{package} was {then.get(package, 'missing')}, is {now.get(package, 'missing')}"
        for package in PACKAGES
        if then.get(package) != now.get(package)
    ]
    return f" ({'; '.join(changed)})" if changed else ""
