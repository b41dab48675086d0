"""Trained versions of a deployment: immutable folders, one of which is the champion.

    models/<name>-<id>/                        weights, processors, manifest.json with the lineage
    models/champion                            the one that is served, replaced in one step
    rankers/<embedder version>/ranker-<id>/    trees, manifest.json with the lineage
    rankers/<embedder version>/champion        the one that serves while that version is live

The name of a version is an id of what it holds, so that the two cannot come apart. An embedder is
named `registry:NAME`, or `registry:champion`, which follows the champion. A ranker reads features
of one embedder's vectors, so each embedder version has a champion of its own: when the index goes
back to an earlier version, its ranker is there.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from catalog.atomic_file import write_atomically

REGISTRY = "registry:"
"""Before the name of a registered version, or before `champion`."""

CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions below one folder; it comes into being with the first."""

    folder: Path

    command: ClassVar[str]
    """What chooses a champion."""

    def names(self) -> list[str]:
        """Return the registered versions, sorted."""
        return sorted(path.parent.name for path in self.folder.glob("[!.]*/manifest.json"))

    def path(self, name: str) -> Path:
        """Return the folder of a version; `champion` names the champion.

        Raises:
            LookupError: there is no such version, or no champion yet.
        """
        wanted = self.champion() if name == CHAMPION else name
        if wanted is None:
            raise LookupError(
                f"{self.folder} has no champion yet; choose one with {self.command} NAME"
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

    def keep(self, version: Path, name: str, *, lineage: Mapping[str, Any]) -> str:
        """Copy a version's folder here and return its name.

        The copy is there as a whole or not at all. A version that is registered already is left as
        it is, its lineage too, so that registering again does nothing.

        Args:
            version: the folder.
            name: what it is called here.
            lineage: where it comes from; kept in the copy's manifest, and no part of its id.
        """
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


class Registry(Versions):
    """The fine-tuned embedders."""

    command = "ponder models promote"

    def add(self, version: Path, *, lineage: Mapping[str, Any]) -> str:
        """Copy a version folder into the registry and return its name; see `keep`."""
        from embedder.identity import model_version

        return self.keep(version, model_version(str(version), "auto"), lineage=lineage)

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


class RankerRegistry(Versions):
    """The rankers that read features of one embedder version."""

    command = "ponder ranker promote"

    def champion_folder(self) -> Path | None:
        """Return the folder of the champion; None before the first."""
        name = self.champion()
        return None if name is None else self.folder / name
