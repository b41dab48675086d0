"""What a collection holds against what it should hold, read a range of ids at a time.

Shape legend: S = sampled items, N = items of a range, D = embedding dimension.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from catalog.lake.living_parts import LivingPart
from recall.rows import vector_matrix


class KeysDigest:
    """A digest of keys and content hashes, told in order of item_id."""

    def __init__(self) -> None:
        """Start with none."""
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, keys: pl.DataFrame) -> None:
        """Take in the next rows: item_id and content_hash."""
        for item_id, content_hash in keys.select("item_id", "content_hash").iter_rows():
            self._hash.update(f"{len(item_id)}:{item_id}{content_hash};".encode())

    def value(self) -> str:
        """Return 32 hexadecimal digits."""
        return self._hash.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What was found in one pass over the lake's vectors and the collection's keys."""

    num_items: int = 0
    missing: int = 0
    stale: int = 0
    awaiting: int = 0
    extra: int = 0

    digest: str = ""
    """Of what the collection holds; see `KeysDigest`."""

    sample_ids: tuple[str, ...] = ()
    sample_SD: np.ndarray
    """Unit vectors of a sample of the items, as the lake has them."""

    centroid_D: np.ndarray
    """Mean of all unit vectors, f64; empty when there is none."""

    mean_norm: float = 1.0
    """Of the vectors as they are stored."""


def read_contents(parts: Iterable[LivingPart], *, dim: int, sample: int, seed: int) -> Contents:
    """Compare a collection with the lake; one range of ids at a time is in memory.

    Args:
        parts: what should be there and what is; see `catalog.lake.living_parts`.
        dim: D of the version.
        sample: items to take, the same ones however the ranges are cut.
        seed: of the sample.

    Raises:
        ValueError: a vector of the lake is no good.
    """
    digest, counts = KeysDigest(), Counter[str]()
    sum_D, sum_norm = np.zeros(dim), 0.0
    taken: list[tuple[bytes, str, np.ndarray]] = []
    for part in parts:
        rows = part.rows.sort("item_id")
        digest.add(part.held.sort("item_id"))
        for name, count in _differences(rows, part.held).items():
            counts[name] += count
        if rows.is_empty():
            continue
        vectors_ND = vector_matrix(rows["vector"], dim=dim).astype(np.float64)
        norm_N = np.linalg.norm(vectors_ND, axis=1)
        unit_ND = vectors_ND / norm_N[:, None]
        sum_D += unit_ND.sum(axis=0)
        sum_norm += float(norm_N.sum())
        drawn = [
            (_lot(item_id, seed), item_id, unit_ND[n].astype(np.float32))
            for n, item_id in enumerate(rows["item_id"])
        ]
        taken = heapq.nsmallest(sample, [*taken, *drawn], key=_first)
    vectors = [vector_D for _, _, vector_D in taken]
    num_items = counts["num_items"]
    return Contents(
        num_items=num_items,
        missing=counts["missing"],
        stale=counts["stale"],
        awaiting=counts["awaiting"],
        extra=counts["extra"],
        digest=digest.value(),
        sample_ids=tuple(item_id for _, item_id, _ in taken),
        sample_SD=np.stack(vectors) if vectors else np.empty((0, dim), dtype=np.float32),
        centroid_D=sum_D / num_items if num_items else np.empty(0),
        mean_norm=sum_norm / num_items if num_items else 1.0,
    )


def _lot(item_id: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{item_id}".encode(), digest_size=8).digest()


def _first(drawn: tuple[bytes, str, np.ndarray]) -> tuple[bytes, str]:
    return drawn[:2]


def _differences(expected: pl.DataFrame, present: pl.DataFrame) -> dict[str, int]:
    both = expected.join(present, on="item_id", suffix="_present")
    is_behind = both["content_hash"] != both["content_hash_present"]
    awaits = both.get_column("awaits_embedding", default=pl.repeat(False, len(both), eager=True))
    awaiting = int((awaits & ~is_behind).sum())
    return {
        "num_items": len(expected),
        "missing": len(expected) - len(both),
        "stale": int(is_behind.sum()) + awaiting,
        "awaiting": awaiting,
        "extra": len(present) - len(both),
    }
