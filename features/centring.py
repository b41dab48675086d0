"""What features are measured against, of one embedder version: the content of a reference."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from features.behaviour_spaces import BehaviourSpaces


@dataclass(frozen=True, slots=True)
class Centring:
    """What centred one version's embeddings, cuts their cosines into tiers, and groups them.

    Part of the features: with the same one, a service or a later table makes the same features.
    """

    model_version: str
    """Embedder that made the vectors; those of another version must not be compared with them."""

    mean: tuple[float, ...]
    """D numbers, what is taken off; none where there were no vectors to measure, and then none are
    compared."""

    edges: tuple[float, ...]
    """Rising inner bounds of the similarity tiers, as cosines; see `similarity_edges`."""

    clusters: tuple[tuple[float, ...], ...] = ()
    """Centres of clusters of the centred vectors; see `features.clusters`. None where there are too
    few vectors."""

    behaviour: BehaviourSpaces | None = None
    """Vectors of what is liked together; None where too little is."""

    codes_id: str = ""
    """Of the codebooks whose codes are compared; empty where none are."""

    @property
    def id(self) -> str:
        """16 hexadecimal digits that change with any of it."""
        text = json.dumps(self.plain)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def plain(self) -> dict[str, Any]:
        """The same as plain values, for `of_plain`; of behaviour spaces and codebooks their ids."""
        codes = {"codes_id": self.codes_id} if self.codes_id else {}
        return codes | {
            "model_version": self.model_version,
            "mean": self.mean,
            "edges": self.edges,
            "clusters": self.clusters,
            "behaviour": "" if self.behaviour is None else self.behaviour.id,
        }

    @classmethod
    def of_plain(
        cls, plain: Mapping[str, Any], spaces: Callable[[str], BehaviourSpaces]
    ) -> "Centring":
        """Return what was told by `plain`.

        Args:
            plain: of `plain`, or of an earlier release, which knew no clusters and behaviour.
            spaces: by their id.
        """
        spaces_id = plain.get("behaviour", "")
        told = {name: value for name, value in plain.items() if name != "behaviour"}
        bare = msgspec.convert(told, cls)
        return replace(bare, behaviour=spaces(spaces_id)) if spaces_id else bare
