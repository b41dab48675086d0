"""References: what features are measured against, made once and kept by name and number.

A mean and the edges of tiers are estimated from a population, and every value hangs on them. Were
they estimated anew with each export, one item more or less would rewrite the past, and a ranker
would be fed with other features than it learnt from. So they are made once, of a stated window, and
kept in the lake; the newest of a name is the one in use, and another one is a decision.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from catalog.lake.lake import Lake
from catalog.lake.tables import BEHAVIOUR_SPACES, FEATURE_REFERENCES
from features.behaviour_spaces import BehaviourSpaces
from features.centring import Centring

DEFAULT = "default"
"""Name of the reference that exports are made with unless another is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A centring, and what it was made of."""

    name: str

    number: int
    """From 1, for each name and embedder version."""

    centring: Centring
    first_ts: datetime
    """The window: the requests, from here on, whose histories the edges of the tiers are of."""

    last_ts: datetime
    """And up to here; with it."""

    num_items: int
    """Whose vectors the mean is of."""

    made_at: datetime

    @property
    def id(self) -> str:
        """16 hexadecimal digits that change with any number in it."""
        return self.centring.id


class References:
    """The references of a lake."""

    def __init__(self, lake: Lake) -> None:
        """Read nothing yet."""
        self._lake = lake

    def newest(self, name: str, model_version: str) -> Reference | None:
        """Return the reference in use under a name, for an embedder version; None: none yet."""
        found = self._rows().filter(name=name, model_version=model_version).sort("number")
        return self._reference(found.row(-1, named=True)) if len(found) else None

    def all(self) -> list[Reference]:
        """Return every reference, in order of name, version and number."""
        rows = self._rows().sort("name", "model_version", "number")
        return [self._reference(row) for row in rows.iter_rows(named=True)]

    def keep(self, reference: Reference) -> Reference:
        """Keep a reference under the next number of its name and version, and return it so."""
        if (spaces := reference.centring.behaviour) is not None:
            self._lake.rewrite(BEHAVIOUR_SPACES, lambda _: spaces.frame)

        def rows(stored: pl.DataFrame) -> pl.DataFrame:
            same = stored.filter(name=reference.name, model_version=_version(reference))
            number = same["number"].max()
            row = {
                "name": reference.name,
                "model_version": _version(reference),
                "number": 1 + (number if isinstance(number, int) else 0),
                "centring": json.dumps(reference.centring.plain),
                "first_ts": reference.first_ts,
                "last_ts": reference.last_ts,
                "num_items": reference.num_items,
                "made_at": reference.made_at,
            }
            return pl.DataFrame([row], schema=FEATURE_REFERENCES.schema)

        return self._reference(self._lake.rewrite(FEATURE_REFERENCES, rows).row(0, named=True))

    def _rows(self) -> pl.DataFrame:
        return self._lake.read(FEATURE_REFERENCES)

    def _reference(self, row: dict[str, Any]) -> Reference:
        centring = Centring.of_plain(json.loads(row["centring"]), self._spaces)
        told = {name: value for name, value in row.items() if name != "model_version"}
        return Reference(**told | {"centring": centring})

    def _spaces(self, spaces_id: str) -> BehaviourSpaces:
        rows = self._lake.scan(BEHAVIOUR_SPACES).filter(pl.col("spaces") == spaces_id)
        return BehaviourSpaces.of_frame(rows.collect())


def _version(reference: Reference) -> str:
    return reference.centring.model_version
