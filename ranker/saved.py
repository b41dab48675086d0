"""Rankers on disk: a folder with the trees, and a manifest that vouches for them."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import lightgbm
import msgspec

from catalog.atomic_file import write_atomically
from features.centred_embeddings import Centring
from ranker.config import RankerConfig
from ranker.model import Ranker

MODEL, MANIFEST = "model.txt", "manifest.json"


class SavedRanker:
    """The ranker of a folder, read again whenever another one was saved there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written_at = -1
        self._ranker: Ranker | None = None

    def latest(self) -> Ranker:
        """Return the ranker that was saved last.

        Raises:
            FileNotFoundError: none has been saved yet.
            ValueError: as of `load_ranker`.
        """
        written_at = (self._folder / MANIFEST).stat().st_mtime_ns
        if self._ranker is None or written_at != self._written_at:
            self._ranker, self._written_at = load_ranker(self._folder), written_at
        return self._ranker


def save_ranker(ranker: Ranker, folder: Path) -> None:
    """Write `model.txt` (LightGBM's text) and then `manifest.json`, which vouches for it."""
    text = ranker.booster.model_to_string()
    write_atomically(folder / MODEL, text)
    manifest = {
        "model_digest": _digest(text),
        "feature_names": ranker.feature_names,
        "schema_hash": ranker.schema_hash,
        "centring": asdict(ranker.centring),
        "config": asdict(ranker.config),
        "num_trees": ranker.booster.num_trees(),
        "lightgbm": lightgbm.__version__,
    }
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1))


def load_ranker(folder: Path) -> Ranker:
    """Read the ranker that was saved to `folder`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the model is not the one its manifest describes, or is of an older code.
    """
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    if "centring" not in manifest:
        raise ValueError(f"{path} must hold a centring, got one of an older code; train again")
    text = (folder / MODEL).read_text()
    if _digest(text) != manifest["model_digest"]:
        raise ValueError(
            f"{folder / MODEL} must be the model its manifest describes, got another one; "
            "a save was cut short or the file was edited, so train again"
        )
    return Ranker(
        lightgbm.Booster(model_str=text),
        tuple(manifest["feature_names"]),
        manifest["schema_hash"],
        msgspec.convert(manifest["centring"], Centring),
        RankerConfig(**manifest["config"]),
    )


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
