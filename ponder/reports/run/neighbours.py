"""A few items with what lies nearest to each: the quickest look at what an embedder has learned."""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl

from evaluation.exact_ranking import SCORE_DECIMALS, Catalogue, rank_all


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """One item and what lies nearest to it."""

    item_id: str

    nearest: list[tuple[str, float]]
    """item_id and cosine, nearest first; never the item itself."""


def neighbourhoods(
    living: pl.DataFrame, *, num_items: int = 10, num_neighbours: int = 6
) -> list[Neighbourhood]:
    """Return some items that people know, of all categories, with their nearest by exact cosine.

    Args:
        living: rows of `items` with `vector`, as of `ponder.wiring.vectors.living_vectors`, and
            `num_events`.
        num_items: how many; fewer when there are fewer.
        num_neighbours: of each. Equal cosines are in order of id.
    """
    if living.is_empty():
        return []
    catalogue = Catalogue.of(living)
    row_of = {item_id: row for row, item_id in enumerate(catalogue.item_ids)}
    chosen = _spread(living, num_items)
    vectors_ND = catalogue.vectors_ND.astype(np.float64)
    ranked = rank_all(
        vectors_ND[[row_of[item_id] for item_id in chosen]],
        vectors_ND,
        catalogue.item_ids,
        top_k=num_neighbours,
        exclude=[{item_id} for item_id in chosen],
    )
    return [
        Neighbourhood(item_id, [(n, _cosine(vectors_ND, row_of[item_id], row_of[n])) for n in near])
        for item_id, near in zip(chosen, ranked, strict=True)
    ]


def _spread(living: pl.DataFrame, num_items: int) -> list[str]:
    """Ids taken from the categories in turn, the largest first; items with an image go first.

    Within a category those with most events, for whoever looks knows them best; among equals by a
    hash of the id, since neighbouring ids are often alike.
    """
    has_none = pl.col("image_hash").is_null()
    drawn = pl.col("item_id").map_elements(_hash, return_dtype=pl.UInt64)
    turns = living.sort(has_none, -pl.col("num_events"), drawn, "item_id").with_columns(
        turn=pl.int_range(pl.len()).over("category"), members=pl.len().over("category")
    )
    in_turn = turns.sort(
        [has_none, "turn", "members", "category", "item_id"],
        descending=[False, False, True, False, False],
    )
    return in_turn["item_id"].head(num_items).to_list()


def _hash(item_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(item_id.encode(), digest_size=8).digest(), "big")


def _cosine(vectors_ND: np.ndarray, row: int, other: int) -> float:
    return round(float(vectors_ND[row] @ vectors_ND[other]), SCORE_DECIMALS)
