"""Rankers on disk: a folder with the trees, and a manifest that vouches for them and for itself."""

import hashlib
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, fields
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import lightgbm
import msgspec

from catalog.atomic_file import write_atomically
from features.behaviour_spaces import BehaviourSpaces
from features.centring import Centring
from features.groups import in_order
from ranker.config import RankerConfig
from ranker.model import Ranker, TrainedOn

MANIFEST = "manifest.json"

FIELDS = (
    *("digest", "models", "feature_names", "groups", "schema_hash", "reference", "centring"),
    *("config", "trained_on", "num_trees", "versions", "lineage"),
)
"""Of a manifest; `lineage` is left out of its digest, for whoever registers it says more."""


class SavedRanker:
    """The ranker of a folder that may change, read again whenever it is another one."""

    def __init__(self, folder_of: Callable[[], Path | None]) -> None:
        """Follow what `folder_of` names; a folder's content never changes."""
        self._folder_of = folder_of
        self._read: tuple[Path, Ranker] | None = None

    def latest(self) -> Ranker:
        """Return the ranker of the folder that is named now.

        Raises:
            FileNotFoundError: none is named, or there is none in the folder.
            ValueError: as of `load_ranker`.
        """
        folder, read = self._folder_of(), self._read
        if folder is None:
            raise FileNotFoundError("no ranker has been chosen")
        if read is None or read[0] != folder:
            self._read = read = folder, load_ranker(folder)
        return read[1]


def save_ranker(ranker: Ranker, folder: Path) -> str:
    """Write `model-0.txt`, ... (LightGBM's text), then `manifest.json`, and return its digest."""
    models = {}
    for member, booster in enumerate(ranker.boosters):
        text = booster.model_to_string()
        name = f"model-{member}.txt"
        write_atomically(folder / name, text)
        models[name] = _digest(text)
    if ranker.centring.behaviour is not None:
        ranker.centring.behaviour.save(folder)
    told = {
        "models": models,
        "feature_names": list(ranker.feature_names),
        "groups": list(ranker.groups),
        "schema_hash": ranker.schema_hash,
        "reference": ranker.centring.id,
        "centring": ranker.centring.plain,
        "config": asdict(ranker.config),
        "trained_on": msgspec.to_builtins(ranker.trained_on),
        "num_trees": ranker.num_trees,
        "versions": {
            "ponder": installed("ponder"),
            "lightgbm": lightgbm.__version__,
            "python": platform.python_version(),
        },
    }
    manifest = {"digest": _digest_of(told), **told}
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1))
    return str(manifest["digest"])


def load_ranker(folder: Path) -> Ranker:
    """Read the ranker that was saved to `folder`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a model or the manifest is not what was saved, or of another code.
    """
    manifest = _manifest(folder / MANIFEST)
    return Ranker(
        tuple(_booster(folder / name, digest) for name, digest in manifest["models"].items()),
        tuple(manifest["feature_names"]),
        in_order(manifest["groups"]),
        manifest["schema_hash"],
        Centring.of_plain(
            manifest["centring"], lambda spaces_id: BehaviourSpaces.load(folder, spaces_id)
        ),
        RankerConfig(**manifest["config"]),
        msgspec.convert(manifest["trained_on"], TrainedOn),
    )


def _manifest(path: Path) -> dict[str, Any]:
    text = path.read_text()
    try:
        manifest = json.loads(text)
        told = {name: manifest[name] for name in FIELDS if name not in ("digest", "lineage")}
        known = {field.name for field in fields(RankerConfig)}
        is_ours = not set(manifest["config"]) - known
    except (ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise ValueError(
            f"{path} must be the manifest of a ranker, got one of an older or a newer code, or "
            "none at all; train again"
        )
    if _digest_of(told) != manifest["digest"]:
        raise ValueError(f"{path} must be as it was saved, got an edited one; train again")
    return dict(manifest)


def _booster(path: Path, digest: str) -> lightgbm.Booster:
    text = path.read_text() if path.exists() else ""
    if _digest(text) != digest:
        raise ValueError(
            f"{path} must be the model its manifest describes, got another one or none; it was "
            "edited or lost, so train again"
        )
    return lightgbm.Booster(model_str=text)


def _digest_of(told: dict[str, Any]) -> str:
    return _digest(json.dumps(told, sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
