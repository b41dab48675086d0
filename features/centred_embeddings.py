"""Item vectors of one model version, centred: what candidates and histories are compared by.

Legend: N = items, D = embedding dimension, P = pairs.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from catalog.lake.tables import TIME
from features.centring import Centring
from features.clusters import cluster_centres, nearest_centres

HASHED_ROWS = 8_192
"""Vectors hashed at once."""

FEW_ROWS = 4_096
"""So few are found by a dictionary: a join of frames takes longer than the rest of a request."""

CODES = "codes of "
"""Before the id of codebooks, in the name of the column of their codes."""

_CHANGES = pl.Schema([("item_id", pl.String), ("since", TIME), ("name", pl.String)])


@dataclass(frozen=True, eq=False)
class CentredEmbeddings:
    """Item vectors of one model version, made comparable.

    The corpus mean is taken off and the rest is normalised again. Vectors of language models
    crowd in a narrow cone (cosines of 0.5 to 0.9 between strangers); the common direction says
    nothing about what a user likes, and without it the cosine of two strangers is near 0.
    """

    centring: Centring

    item_ids: pl.Series
    """[N] names of the vectors, in the order of `vectors_ND`: the id of an item that has one, and
    one for each of those that an item had; see `names_at`."""

    vectors_ND: np.ndarray
    """[N, D] float32, centred, L2-normalised; zeros where a vector equals the mean."""

    changes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_CHANGES))
    """item_id, since, name: of items that had several vectors, when each began to be theirs."""

    codes_NL: np.ndarray | None = None
    """[N, L] int32 codes of each vector, by the codebooks that the centring names; None: there are
    none."""

    @classmethod
    def of(cls, embeddings: pl.DataFrame, centring: Centring) -> "CentredEmbeddings":
        """Centre embeddings as earlier ones were, so that features compare with theirs.

        Args:
            embeddings: item_id str, vector list[f32], model_version str; one row per item, or
                several that differ in `since`: from when on each was the item's. None at all are
                no fault: then every similarity is missing. Where features of codes are made, with
                the column `codes_column` of the centring's codebooks.
            centring: of an earlier table or of a ranker.

        Raises:
            ValueError: two model versions, another one than the centring's, or an item that is
                there twice.
        """
        if embeddings.is_empty():
            return cls.without_vectors(centring)
        version = _only_version(embeddings)
        if version != centring.model_version:
            raise ValueError(
                f"the features compare vectors of {centring.model_version!r}, got embeddings of "
                f"{version!r}; export and train again for the new version"
            )
        if not centring.mean:
            return cls.without_vectors(centring)
        ordered, changes = _named(embeddings)
        mean_D = np.array(centring.mean, dtype=np.float32)
        vectors_ND = _centred(_matrix(ordered), mean_D)
        return cls(centring, ordered["name"], vectors_ND, changes, _codes(ordered, centring))

    @classmethod
    def without_vectors(cls, centring: Centring) -> "CentredEmbeddings":
        """Return those of no item, for a catalogue that has no vectors: nothing compares."""
        no_vectors = np.empty((0, len(centring.mean)), dtype=np.float32)
        return cls(centring, pl.Series("name", [], dtype=pl.String), no_vectors)

    @classmethod
    def of_vectors(
        cls,
        item_ids: pl.Series,
        raw_ND: np.ndarray,
        centring: Centring,
        *,
        codes_NL: np.ndarray | None = None,
    ) -> "CentredEmbeddings":
        """Centre vectors that lie in a matrix; see `of`.

        Args:
            item_ids: [N] rising, each once.
            raw_ND: float32; of the centring's model version.
            centring: as of `of`.
            codes_NL: by the codebooks that it names; None: features of codes are missing.
        """
        if item_ids.is_empty() or not centring.mean:
            return cls.without_vectors(centring)
        mean_D = np.array(centring.mean, dtype=np.float32)
        vectors_ND = _centred(raw_ND.reshape(len(item_ids), -1), mean_D)
        return cls(centring, item_ids, vectors_ND, codes_NL=codes_NL)

    @classmethod
    def measured(
        cls,
        embeddings: pl.DataFrame,
        *,
        pairs: pl.DataFrame | None = None,
        num_tiers: int = 8,
        num_clusters: int = 32,
        codes_id: str = "",
        seed: int = 0,
    ) -> "CentredEmbeddings":
        """Centre embeddings by their own mean, and measure tiers' edges and clusters on them.

        Args:
            embeddings: as of `of`.
            pairs: two columns of item ids that belong together; see `history_pairs`.
            num_tiers: tiers to measure, >= 2.
            num_clusters: clusters to make at most; 0: none.
            codes_id: of the codebooks whose codes are compared; empty: none are.
            seed: of the random pairs, and of the centres that clusters begin with.

        Raises:
            ValueError: no embeddings, two model versions, or an item that is there twice.
        """
        version = _only_version(embeddings)
        ordered, changes = _named(embeddings)
        raw_ND = _matrix(ordered)
        mean_D = raw_ND.mean(axis=0, dtype=np.float64).astype(np.float32)
        vectors_ND = _centred(raw_ND, mean_D)
        pairs_P2 = None if pairs is None else _pair_rows(ordered["name"], pairs)
        edges = similarity_edges(vectors_ND, pairs_P2, num_tiers=num_tiers, seed=seed)
        centres_KD = cluster_centres(vectors_ND, num_clusters, seed=seed)
        centres = tuple(tuple(float(x) for x in centre_D) for centre_D in centres_KD)
        mean = tuple(float(x) for x in mean_D)
        centring = Centring(version, mean, edges, centres, codes_id=codes_id)
        return cls(centring, ordered["name"], vectors_ND, changes, _codes(ordered, centring))

    @cached_property
    def same_N(self) -> np.ndarray:
        """[N] a number for each item that its exact duplicates share: those of the same vector."""
        bits_ND = np.ascontiguousarray(self.vectors_ND).view(np.uint32)
        random = np.random.default_rng(0).bytes(8 * bits_ND.shape[1])
        factor_D = np.frombuffer(random, dtype=np.uint64) | np.uint64(1)
        digest_N = np.zeros(len(bits_ND), dtype=np.uint64)
        for start in range(0, len(bits_ND), HASHED_ROWS):
            part = slice(start, start + HASHED_ROWS)
            digest_N[part] = bits_ND[part].astype(np.uint64) @ factor_D  # wraps: a hash of 64 bits
        return np.unique(digest_N, return_inverse=True)[1]

    @cached_property
    def square_N(self) -> np.ndarray:
        """[N] float32 cosine of each vector with itself: 1, or 0 where it equals the mean."""
        return np.einsum("nd,nd->n", self.vectors_ND, self.vectors_ND)

    @cached_property
    def cluster_N(self) -> np.ndarray:
        """[N] int32 number of the cluster of each vector; -1: none."""
        if not self.centring.clusters:
            return np.full(len(self.vectors_ND), -1, dtype=np.int32)
        return nearest_centres(self.vectors_ND, np.array(self.centring.clusters, dtype=np.float32))

    def names_at(self, rows: pl.DataFrame, column: str = "item_id") -> pl.Series:
        """Return the name of the vector that each row's item had just before the row's `ts`.

        The item's id itself where it never had another, or none. Two rows of one moment have the
        same name exactly when they have the same item.

        Args:
            rows: ids and `ts`.
            column: of the ids.
        """
        if self.changes.is_empty():
            return rows[column]
        asked = rows.select(pl.col(column).alias("item_id"), "ts").with_row_index("row")
        found = asked.sort("ts").join_asof(
            self.changes,
            left_on="ts",
            right_on="since",
            by="item_id",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,  # cannot be checked per item; both sides are sorted
        )
        named = found.sort("row").select(pl.coalesce("name", "item_id").alias(column))
        return named[column]

    def with_vector(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return the events on items that have a vector."""
        known = pl.concat([self.item_ids, self.changes["item_id"]])
        return events.filter(pl.col("item_id").is_in(known.implode()))

    def rows_of(self, item_ids: pl.Series) -> np.ndarray:
        """Return [n] row of each item in `vectors_ND`, int64; -1 for an item without a vector."""
        if len(self.item_ids) <= FEW_ROWS:
            found = [self._row_of.get(each, -1) for each in item_ids.to_list()]
            return np.array(found, dtype=np.int64)
        return _rows_of(self.item_ids, item_ids)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {item_id: row for row, item_id in enumerate(self.item_ids.to_list())}


def similarity_edges(
    vectors_ND: np.ndarray,
    pairs_P2: np.ndarray | None = None,
    *,
    num_tiers: int = 8,
    num_pairs: int = 20_000,
    seed: int = 0,
) -> tuple[float, ...]:
    """Return the inner bounds of `num_tiers` tiers: quantiles of what cosines occur here.

    Half of the sample are random pairs, half pairs that belong together, so that tiers part
    strangers from kin whatever the embedder. Equal widths would put most pairs in two or three
    tiers. (SimTier, arXiv 2407.19467, uses equal widths over vectors trained for them.)

    Args:
        vectors_ND: L2-normalised.
        pairs_P2: rows of pairs that belong together; None or empty: random pairs only.
        num_tiers: tiers to make, >= 2.
        num_pairs: pairs to draw of each kind.
        seed: of the draw.

    Returns:
        `num_tiers - 1` rising cosines; fewer when quantiles coincide.
    """
    if num_tiers < 2:
        raise ValueError(f"num_tiers must be >= 2, got {num_tiers}")
    rng = np.random.default_rng(seed)
    drawn_P2 = rng.integers(len(vectors_ND), size=(num_pairs, 2))
    drawn_P2 = drawn_P2[drawn_P2[:, 0] != drawn_P2[:, 1]]
    if pairs_P2 is not None and len(pairs_P2):
        drawn_P2 = np.concatenate([drawn_P2, pairs_P2[rng.integers(len(pairs_P2), size=num_pairs)]])
    cosines_P = np.einsum("pd,pd->p", vectors_ND[drawn_P2[:, 0]], vectors_ND[drawn_P2[:, 1]])
    if not len(cosines_P):
        cosines_P = np.array([0.0])
    quantiles = np.quantile(cosines_P, np.arange(1, num_tiers) / num_tiers)
    return tuple(float(edge) for edge in np.unique(quantiles))


def history_pairs(histories: pl.DataFrame) -> pl.DataFrame:
    """Return neighbours in a history as pairs of items that belong together: left, right."""
    items = pl.col("items")
    return (
        histories.filter(items.list.len() > 1)
        .select(left=items.list.slice(1), right=items.list.slice(0, items.list.len() - 1))
        .explode("left", "right")
        .unique()
        .sort("left", "right")
    )


def _only_version(embeddings: pl.DataFrame) -> str:
    versions = embeddings["model_version"].unique().sort().to_list()
    if len(versions) != 1:
        raise ValueError(
            f"embeddings must hold exactly one model_version, got {versions}; "
            "vectors of two versions are not comparable, so filter to one"
        )
    key = [name for name in ("item_id", "since") if name in embeddings.columns]
    twice = embeddings.filter(pl.struct(key).is_duplicated())["item_id"].unique().sort()
    if len(twice):
        raise ValueError(
            f"embeddings must hold one row per item, got several for {len(twice)} items, first "
            f"{twice[0]!r}; keep the row whose content_hash is the item's present one"
        )
    return versions[0]


def _named(embeddings: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows in order of `name`, and the changes of items that have several."""
    if "since" not in embeddings.columns:
        return embeddings.sort("item_id").with_columns(name="item_id"), pl.DataFrame(
            schema=_CHANGES
        )
    ordered = embeddings.sort("item_id", "since")
    number = pl.int_range(pl.len()).over("item_id")
    suffix = "\0" + number.cast(pl.String)  # no id holds it: it sorts after its item's
    name = pl.when(number == 0).then("item_id").otherwise(pl.col("item_id") + suffix)
    named = ordered.with_columns(name=name)
    changed = named.filter(pl.len().over("item_id") > 1).select(_CHANGES.names())
    return named, changed.sort("since", maintain_order=True)


def _matrix(embeddings: pl.DataFrame) -> np.ndarray:
    vectors = embeddings["vector"]
    flat = vectors.list.explode(empty_as_null=False).cast(pl.Float32).to_numpy()
    dims = vectors.list.len().unique()
    if len(dims) != 1:
        raise ValueError(f"vectors must be of one length, got {dims.sort().to_list()}; embed again")
    return flat.reshape(len(vectors), dims[0])


def codes_column(codes_id: str) -> str:
    """Return the name of the column that holds the codes that codebooks gave: list[i32]."""
    return f"{CODES}{codes_id}"


def codes_carried(embeddings: pl.DataFrame) -> str:
    """Return the id of the codebooks whose codes embeddings carry; of several the first, or ""."""
    ids = [name.removeprefix(CODES) for name in embeddings.columns if name.startswith(CODES)]
    return ids[0] if ids else ""


def _codes(embeddings: pl.DataFrame, centring: Centring) -> np.ndarray | None:
    """Return [N, L] int32 the codes of embeddings; None where the centring's are not carried."""
    name = codes_column(centring.codes_id)
    if name not in embeddings.columns:
        return None
    codes = embeddings[name]
    flat = codes.list.explode(empty_as_null=False).cast(pl.Int32).to_numpy()
    return flat.reshape(len(codes), -1)


def _centred(raw_ND: np.ndarray, mean_D: np.ndarray) -> np.ndarray:
    centred_ND = raw_ND - mean_D
    norm_N1 = np.linalg.norm(centred_ND, axis=1, keepdims=True)
    return np.divide(centred_ND, norm_N1, out=np.zeros_like(centred_ND), where=norm_N1 > 1e-12)


def _rows_of(known: pl.Series, item_ids: pl.Series) -> np.ndarray:
    index = pl.DataFrame({"item_id": known}).with_row_index("row")
    asked = pl.DataFrame({"item_id": item_ids})
    found = asked.join(index, on="item_id", how="left", maintain_order="left")
    return found["row"].cast(pl.Int64).fill_null(-1).to_numpy()


def _pair_rows(known: pl.Series, pairs: pl.DataFrame) -> np.ndarray:
    rows_P2 = np.stack([_rows_of(known, pairs.to_series(side)) for side in (0, 1)], axis=1)
    return rows_P2[(rows_P2 >= 0).all(axis=1)]
