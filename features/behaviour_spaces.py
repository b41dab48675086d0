"""Behaviour spaces: item vectors of what was liked together, as it was known at several midnights.

They are part of a frozen reference. A space holds what was liked before its day, and requests of
that day or later are compared in it until the next space begins: so no answer that a ranker learns
from is in the vectors that it is told of.

Legend: T = spaces, I = items, D = dimension, L = likes, P = pairs of items.
"""

import hashlib
import io
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import svds

from catalog.atomic_file import write_atomically
from catalog.lake.tables import BEHAVIOUR_SPACES
from features.cooccurrence import Cooccurrence
from features.daily_sums import DAYS, days_of
from features.sorted_ids import rows_in

SUFFIX = ".spaces"
"""Of a file of spaces, which is Parquet: whoever reads all Parquet files of an export is not to
meet it among them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BehaviourSpaceConfig:
    """How behaviour spaces are made."""

    dim: int = 32
    """Numbers of a vector."""

    num_spaces: int = 4
    """The likes of the reference's window are cut into so many parts, and each ends in a space."""

    min_users: int = 3
    """Items that fewer users liked have no vector."""

    def __post_init__(self) -> None:
        if min(self.dim, self.num_spaces, self.min_users) <= 0:
            raise ValueError(
                "dim, num_spaces and min_users must be > 0, got "
                f"{self.dim}, {self.num_spaces} and {self.min_users}"
            )


@dataclass(frozen=True, eq=False)
class BehaviourSpaces:
    """The behaviour spaces of a reference."""

    days_T: np.ndarray
    """int64, rising: from which day on each is used; see `features.daily_sums.days_of`."""

    item_ids: pl.Series
    """[I] items that have a vector in one of them, rising."""

    vectors_TID: np.ndarray
    """float32, L2-normalised; zeros of an item without a vector."""

    @classmethod
    def measured(
        cls,
        counts: Cooccurrence,
        *,
        until: int,
        config: BehaviourSpaceConfig | None = None,
        seed: int = 0,
    ) -> "BehaviourSpaces | None":
        """Make spaces of what was liked before a day; None where too little was.

        Args:
            counts: of what was liked together.
            until: the day at which the last space begins at the latest.
            config: the defaults when None.
            seed: of the solver's first guess.
        """
        config = config or BehaviourSpaceConfig()
        found = [
            (day, space)
            for day in _days(counts, until, config.num_spaces)
            if (space := _space(counts, day, config, seed)) is not None
        ]
        if not found:
            return None
        known_I = np.flatnonzero(np.any([space.any(axis=1) for _, space in found], axis=0))
        vectors_TID = np.stack([space[known_I] for _, space in found])
        days_T = np.array([day for day, _ in found], dtype=np.int64)
        return cls(days_T, counts.item_ids.gather(known_I), vectors_TID)

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits that change with any number in it."""
        digest = hashlib.blake2b(digest_size=8)
        names = "\0".join(self.item_ids).encode()
        for part in (self.days_T.tobytes(), names, self.vectors_TID.tobytes()):
            digest.update(part)
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        """Return whether both say the same."""
        return isinstance(other, BehaviourSpaces) and self.id == other.id

    def __hash__(self) -> int:
        """Return a number that equal ones share."""
        return hash(self.id)

    @property
    def frame(self) -> pl.DataFrame:
        """A row for each space, in the columns of `catalog.lake.tables.BEHAVIOUR_SPACES`."""
        known = [np.flatnonzero(space_ID.any(axis=1)) for space_ID in self.vectors_TID]
        vectors = [space_ID[rows] for space_ID, rows in zip(self.vectors_TID, known, strict=True)]
        since = pl.Series(self.days_T - DAYS // 2).cast(pl.Int32).cast(pl.Date)  # days since 1970
        columns = {
            "spaces": [self.id] * len(known),
            "number": list(range(1, len(known) + 1)),
            "since": since.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "item_ids": [self.item_ids.gather(rows).to_list() for rows in known],
            "vectors": [space.ravel().tolist() for space in vectors],
        }
        return pl.DataFrame(columns, schema=BEHAVIOUR_SPACES.schema)

    @classmethod
    def of_frame(cls, rows: pl.DataFrame) -> "BehaviourSpaces":
        """Read what `frame` says, in whatever order."""
        rows = rows.sort("number")
        item_ids = rows["item_ids"].explode().unique().sort()
        dim = len(rows["vectors"][0]) // len(rows["item_ids"][0])
        vectors_TID = np.zeros((len(rows), len(item_ids), dim), dtype=np.float32)
        for space_ID, ids, vectors in zip(
            vectors_TID, rows["item_ids"], rows["vectors"], strict=True
        ):
            space_ID[item_ids.search_sorted(ids).to_numpy()] = vectors.to_numpy().reshape(-1, dim)
        return cls(days_of(rows["since"]), item_ids, vectors_TID)

    def save(self, folder: Path) -> None:
        """Write a file named by the id."""
        buffer = io.BytesIO()
        self.frame.write_parquet(buffer, compression="zstd")
        write_atomically(folder / _name(self.id), buffer.getvalue())

    @classmethod
    def load(cls, folder: Path, spaces_id: str) -> "BehaviourSpaces":
        """Read what `save` wrote.

        Raises:
            ValueError: the file is lost, or was edited.
        """
        path, spaces = folder / _name(spaces_id), None
        with suppress(OSError, pl.exceptions.PolarsError):
            spaces = cls.of_frame(pl.read_parquet(path.read_bytes()))
        if spaces is None or spaces.id != spaces_id:
            raise ValueError(
                f"{path} must be the behaviour spaces that the manifest names, got others or none; "
                "export and train again"
            )
        return spaces

    @cached_property
    def rows(self) -> "SpaceRows":
        """The vectors of all spaces, one below another."""
        return SpaceRows(self.vectors_TID.reshape(-1, self.vectors_TID.shape[2]))

    def rows_of(self, item_ids: pl.Series, day_N: np.ndarray) -> np.ndarray:
        """Return [N] row in `rows` of each item in the space of a day; -1: it has no vector."""
        space_N = np.searchsorted(self.days_T, day_N, side="right") - 1
        place_N = rows_in(self.item_ids, item_ids)
        row_N = np.maximum(space_N, 0) * len(self.item_ids) + place_N
        is_there_N = (place_N >= 0) & (space_N >= 0)
        return np.where(is_there_N & self.rows.is_known_N[row_N], row_N, -1)


@dataclass(frozen=True, eq=False)
class SpaceRows:
    """Vectors to be compared; none is another's duplicate."""

    vectors_ND: np.ndarray
    """[T * I, D]."""

    @cached_property
    def is_known_N(self) -> np.ndarray:
        """[T * I] whether there is a vector."""
        is_known_N: np.ndarray = np.any(self.vectors_ND, axis=1)
        return is_known_N

    @cached_property
    def same_N(self) -> np.ndarray:
        """[T * I] a number of its own for each."""
        return np.arange(len(self.vectors_ND))

    @cached_property
    def square_N(self) -> np.ndarray:
        """[T * I] float32 cosine of each with itself."""
        return np.einsum("nd,nd->n", self.vectors_ND, self.vectors_ND)


def _name(spaces_id: str) -> str:
    return f"behaviour-{spaces_id}{SUFFIX}"


def _days(counts: Cooccurrence, until: int, num_spaces: int) -> list[int]:
    """Return the days at which parts of equally many likes have ended, rising."""
    day_L = np.sort(days_of(counts.likes["ts"]))
    day_L = day_L[day_L < until]
    if not len(day_L):
        return []
    last = np.arange(1, num_spaces + 1) * len(day_L) // num_spaces - 1
    return sorted({int(day) + 1 for day in day_L[np.maximum(last, 0)]})


def _space(
    counts: Cooccurrence, day: int, config: BehaviourSpaceConfig, seed: int
) -> np.ndarray | None:
    """Return [I, D] vectors of what was liked before a day; None where too few items were.

    The rows of ``U sqrt(S)`` of the truncated singular value decomposition of positive pointwise
    mutual information, which item2vec factorises too (Levy and Goldberg 2014, Barkan and
    Koenigstein 2016); of the pairs that are counted, weighed as there.
    """
    matrix_KK, item_K = _information(counts, day, config.min_users)
    if len(item_K) <= config.dim or not matrix_KK.nnz:
        return None
    left_KD, size_D, _ = svds(matrix_KK, k=config.dim, rng=np.random.default_rng(seed))
    vector_KD = left_KD * np.sqrt(np.maximum(size_D, 0))
    norm_K1 = np.linalg.norm(vector_KD, axis=1, keepdims=True)
    unit_KD = np.where(norm_K1 > 1e-6, vector_KD / np.maximum(norm_K1, 1e-6), 0)
    space_ID = np.zeros((len(counts.item_ids), config.dim), dtype=np.float32)
    space_ID[item_K] = unit_KD
    return space_ID


def _information(counts: Cooccurrence, day: int, min_users: int) -> tuple[csr_array, np.ndarray]:
    """Return [K, K] positive pointwise mutual information, and the K items that it is of."""
    one_P, other_P, weight_P = counts.pairs(day)
    num_items = len(counts.item_ids)
    users_I = counts.users(np.arange(num_items), np.full(num_items, day))
    item_K = np.flatnonzero(users_I >= min_users)
    place_I = np.full(num_items, -1)
    place_I[item_K] = np.arange(len(item_K))
    is_kept_P = (place_I[one_P] >= 0) & (place_I[other_P] >= 0)
    one_P, other_P = place_I[one_P[is_kept_P]], place_I[other_P[is_kept_P]]
    both = np.concatenate([one_P, other_P]), np.concatenate([other_P, one_P])
    weights = np.tile(weight_P[is_kept_P], 2)
    matrix_KK = csr_array((weights, both), shape=(len(item_K), len(item_K)))
    sum_K = matrix_KK.sum(axis=1)
    inverse = diags_array(np.divide(1.0, sum_K, out=np.zeros_like(sum_K), where=sum_K > 0))
    ratio_KK = (inverse @ matrix_KK @ inverse * sum_K.sum()).tocsr()
    ratio_KK.data = np.maximum(np.log(ratio_KK.data), 0.0)
    ratio_KK.eliminate_zeros()
    return ratio_KK, item_K
