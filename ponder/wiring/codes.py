"""Codebooks of a deployment: read from its artefacts, and which are in use of a version."""

from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from catalog.lake.item_codes import codes_in_use
from features.centred_embeddings import codes_column
from ponder.settings import Settings
from ponder.wiring.artifacts import FOLLOW_S, follow
from ponder.wiring.stores import open_lake

if TYPE_CHECKING:
    from embedder.codes.codebooks import Codebooks

CODES = "codes"
"""The folder of artefacts that codebooks are in."""

ROWS_AT_ONCE = 8_192


def open_codebooks(settings: Settings, version: str, codes_id: str) -> "Codebooks":
    """Read codebooks, once in a process.

    Raises:
        ValueError: they are lost, broken, or of another version.
    """
    folder = settings.codebooks_folder(version)
    if not (folder / codes_id).exists():
        follow(settings, CODES, max_age_s=0)
    return _loaded(folder, codes_id, version)


@lru_cache(maxsize=8)
def _loaded(folder: Path, codes_id: str, version: str) -> "Codebooks":
    from embedder.codes.codebook_file import load_codebooks

    return load_codebooks(folder, codes_id, model_version=version)


def with_codes(settings: Settings, vectors: pl.DataFrame, codes_id: str) -> pl.DataFrame:
    """Return vectors with the codes that codebooks give them, as features compare them.

    Args:
        settings: the deployment.
        vectors: item_id, vector, model_version of one version, among others.
        codes_id: of its codebooks; empty: they stay as they are.

    Returns:
        The same rows with `features.centred_embeddings.codes_column` of these codebooks.
    """
    if not codes_id or vectors.is_empty():
        return vectors
    codebooks = open_codebooks(settings, str(vectors["model_version"][0]), codes_id)
    codes = [
        pl.Series(codebooks.assign(matrix(part["vector"])).tolist(), dtype=pl.List(pl.Int32))
        for part in vectors.iter_slices(ROWS_AT_ONCE)
    ]
    return vectors.with_columns(pl.concat(codes).alias(codes_column(codes_id)))


def matrix(vectors: pl.Series) -> np.ndarray:
    """Return [N, D] float32 a column of vectors of one length, of which there is one at least."""
    return vectors.cast(pl.Array(pl.Float32, len(vectors[0]))).to_numpy()


class CodebooksInUse:
    """Tells the codebooks of a version that are in use, as they were some seconds ago at most."""

    def __init__(self, settings: Settings) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._known: dict[str, tuple[float, Codebooks | None]] = {}

    def __call__(self, version: str) -> "Codebooks | None":
        """Return the codebooks of a version; None: it has none.

        Raises:
            ValueError: they are lost or broken.
        """
        now, known = monotonic(), self._known.get(version)
        if known is None or now - known[0] > FOLLOW_S:
            known = self._known[version] = now, codebooks_of(self._settings, version)
        return known[1]


def codebooks_of(settings: Settings, version: str) -> "Codebooks | None":
    """Return the codebooks of a version that are in use; None: it has none.

    Raises:
        ValueError: they are lost or broken.
    """
    codes_id = codes_in_use(open_lake(settings), version)
    return None if codes_id is None else open_codebooks(settings, version, codes_id)
