"""Fine-tuned versions of a deployment: immutable folders, one of which is the champion.

    models/<name>-<id>/     weights, processors, manifest.json with the lineage
    models/champion         the name of the one that is served, replaced in one step

The name of a version is its id under policy `auto`, so that what it is called cannot come apart
from what it holds. A model is named `registry:NAME`, or `registry:champion`, which follows the
champion.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.atomic_file import write_atomically

REGISTRY = "registry:"
"""Before the name of a registered version, or before `champion`."""

CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class Registry:
    """The versions below one folder; it comes into being with the first."""

    folder: Path

    def names(self) -> list[str]:
        """Return the registered versions, sorted."""
        return sorted(path.parent.name for path in self.folder.glob("[!.]*/manifest.json"))

    def add(self, version: Path, *, lineage: Mapping[str, Any]) -> str:
        """Copy a version folder into the registry and return its name.

        The copy is there as a whole or not at all. A version that is registered already is left as
        it is, its lineage too, so that registering again does nothing.

        Args:
            version: the folder.
            lineage: where it comes from; kept in the copy's manifest, and no part of its id.
        """
        from embedder.version import configured_version

        name = configured_version(str(version), "auto")
        if name in self.names():
            return name
        unfinished = self.folder / f".{name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(version, unfinished)
        path = unfinished / "manifest.json"
        values = json.loads(path.read_text()) | {"lineage": dict(lineage)}
        path.write_text(json.dumps(values, indent=2) + "\n")
        unfinished.rename(self.folder / name)
        return name

    def path(self, name: str) -> Path:
        """Return the folder of a version; `champion` names the champion.

        Raises:
            LookupError: there is no such version, or no champion yet.
        """
        wanted = self.champion() if name == CHAMPION else name
        if wanted is None:
            raise LookupError(
                f"{self.folder} has no champion yet; choose one with ponder models promote NAME"
            )
        if wanted not in self.names():
            known = ", ".join(self.names()) or "none"
            raise LookupError(f"{self.folder} has no version {wanted!r}; registered: {known}")
        return self.folder / wanted

    def manifest(self, name: str) -> dict[str, Any]:
        """Return how a version is used and where it comes from.

        Raises:
            LookupError: as of `path`.
        """
        values: dict[str, Any] = json.loads((self.path(name) / "manifest.json").read_text())
        return values

    def champion(self) -> str | None:
        """Return the champion's name; None before the first."""
        pointer = self.folder / CHAMPION
        return pointer.read_text().strip() if pointer.exists() else None

    def promote(self, name: str) -> str | None:
        """Make a version the champion and return the one that was.

        Raises:
            LookupError: there is no such version.
        """
        chosen, before = self.path(name).name, self.champion()
        write_atomically(self.folder / CHAMPION, f"{chosen}\n")
        return before

    def model(self, name: str) -> str:
        """Return what `embedder` calls a model: the folder of a registered one, others as they are.

        Raises:
            LookupError: as of `path`.
        """
        if not name.startswith(REGISTRY):
            return name
        return str(self.path(name.removeprefix(REGISTRY)))

    def models(self) -> Iterator[str]:
        """Return the names by which settings call the registered versions."""
        return (f"{REGISTRY}{name}" for name in self.names())
