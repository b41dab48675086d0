"""What is looked for among items that share codes with a history: one search for each prefix.

Shape legend: H = items of a history, D = embedding dimension, L = levels.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from features.profile import ProfileConfig
from recall.candidates import FoundInterest, RecallOptions
from recall.errors import InvalidQuery, Unavailable
from recall.retrieval import Seed


class Coder(Protocol):
    """Gives vectors of one version their codes; `embedder.codes.codebooks.Codebooks` is one."""

    @property
    def num_levels(self) -> int:
        """L."""
        ...

    def assign(self, vectors_ND: np.ndarray) -> np.ndarray:
        """Return [N, L] int32 codes."""
        ...


class CodeSeeds:
    """Makes seeds of histories by the codes of each version; safe for several threads."""

    def __init__(self, codes_of: Callable[[str], Coder | None], config: ProfileConfig) -> None:
        """Give vectors of a version their codes by `codes_of`; None: it has none.

        Args:
            codes_of: by version; ValueError for codebooks that are lost or broken.
            config: how fast items of a history lose weight.
        """
        self._codes_of, self._config = codes_of, config

    def of(
        self,
        known: Sequence[str],
        vectors: Sequence[np.ndarray],
        version: str,
        options: RecallOptions,
    ) -> tuple[list[Seed], list[FoundInterest]]:
        """Return a seed for each prefix of a history's codes, and the interests they stand for.

        Items whose first codes are the same are one interest. The newest of them stands for it: it
        is what is searched by, among the items of that prefix alone.

        Args:
            known: the items of the history, newest first; or one item.
            vectors: [D] of each.
            version: that the vectors are of.
            options: of them `code_levels`, codes of a prefix, and `max_interests`, the heaviest
                ones; of equal ones those of newer items.

        Raises:
            Unavailable: the version has no codes, or its codebooks are lost or broken.
            InvalidQuery: it has fewer levels.
        """
        levels = options.code_levels or 1
        codes_HL = self._coder(version, levels).assign(np.stack(vectors))[:, :levels]
        weight_H = 0.5 ** (np.arange(len(known)) / self._config.half_life)
        rows_of: dict[tuple[int, ...], list[int]] = {}
        for row, codes in enumerate(codes_HL.tolist()):
            rows_of.setdefault(tuple(codes), []).append(row)
        heaviest = sorted(rows_of.items(), key=lambda each: -float(weight_H[each[1]].sum()))
        seeds, found = [], []
        for codes, rows in heaviest[: options.max_interests]:
            weight, newest = float(weight_H[rows].sum() / weight_H.sum()), known[rows[0]]
            prefix = "-".join(map(str, codes))
            seeds.append(Seed(vectors[rows[0]], "codes", weight, newest, prefix))
            found.append(FoundInterest(newest, weight, len(rows)))
        return seeds, found

    def _coder(self, version: str, levels: int) -> Coder:
        try:
            coder = self._codes_of(version)
        except ValueError as error:
            raise Unavailable(
                f"the codes of version {version!r} cannot be read: {error}"
            ) from error
        if coder is None:
            raise Unavailable(
                f"version {version!r} has no codes; learn some with ponder codes learn, or ask "
                "without code_levels"
            )
        if levels > coder.num_levels:
            raise InvalidQuery(
                f"code_levels must be in [1, {coder.num_levels}] for the codes of version "
                f"{version!r}, got {levels}"
            )
        return coder
