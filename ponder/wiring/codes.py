"""Codebooks of a deployment: read from its artefacts, and which are in use of a version."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.lake.item_codes import codes_in_use
from ponder.settings import Settings
from ponder.wiring.artifacts import follow
from ponder.wiring.stores import open_lake

if TYPE_CHECKING:
    from embedder.codes.codebooks import Codebooks

CODES = "codes"
"""The folder of artefacts that codebooks are in."""


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


def codebooks_of(settings: Settings, version: str) -> "Codebooks | None":
    """Return the codebooks of a version that are in use; None: it has none.

    Raises:
        ValueError: they are lost or broken.
    """
    codes_id = codes_in_use(open_lake(settings), version)
    return None if codes_id is None else open_codebooks(settings, version, codes_id)
