"""The kinds of index that a Milvus server keeps of vectors: what each takes, and which one fits.

What a kind takes in memory is told in docs/scale.md. Left out are kinds that validation would
refuse at their defaults (IVF_PQ, SCANN), and those that only save what others do (HNSW_PQ,
HNSW_PRQ).
"""

import re
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

IndexKind = Literal["FLAT", "HNSW", "HNSW_SQ", "IVF_SQ8", "IVF_RABITQ", "DISKANN", "AUTOINDEX"]
IndexType = Literal["auto", IndexKind]

KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
PREFERRED: tuple[IndexKind, ...] = ("HNSW", "HNSW_SQ", "IVF_SQ8", "DISKANN")
"""What `auto` chooses from: the first that fits into memory; what comes first finds most."""

LITE: tuple[IndexKind, ...] = ("FLAT", "HNSW", "HNSW_SQ", "IVF_SQ8", "AUTOINDEX")
"""Milvus Lite takes the others too, and then searches by brute force without a word."""

LITE_KIND: IndexKind = "FLAT"
"""Of `auto` on Milvus Lite: queries are answered exactly beside it, and what a graph misses in its
validation nobody would miss."""

SINCE: dict[IndexKind, tuple[int, int]] = {
    "DISKANN": (2, 4),  # 2.3.5 takes it by cosine, and then fails to build it without a word
    "HNSW_SQ": (2, 5),
    "IVF_RABITQ": (2, 6),
}
"""First Milvus that has a kind; the others are in every one since 2.3."""

GRAPHS: tuple[IndexKind, ...] = ("HNSW", "HNSW_SQ", "AUTOINDEX")
LINK_BYTES = 1.1 * 2 * 4
"""Of each of the `m` links: twice as many in the lowest layer, a tenth more above, 4 bytes each."""

BYTES_PER_DIM: dict[IndexKind, float] = {
    "FLAT": 4,
    "HNSW": 4,
    "HNSW_SQ": 1,
    "IVF_SQ8": 1,
    "IVF_RABITQ": 1 / 8 + 1,  # a bit, and eight bits that what it finds is looked at again with
    "DISKANN": 4 * (0.125 + 0.1),  # product codes, and the share of the vectors kept in memory
    "AUTOINDEX": 4,  # HNSW, of a server as it comes
}

SEGMENT_LISTS = 1_024
ROWS_PER_LIST = 39  # a server makes fewer lists rather than shorter ones
PER_ROW = 4  # so many times what is asked for is looked at
MAX_EF = 32_768
MIN_SEARCH_LIST, MAX_SEARCH_LIST = 100, 65_535


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexParameters:
    """What the kinds can be told; each takes what it knows."""

    m: int = 16
    """Links of a node of a graph."""

    ef_construction: int = 200
    """Candidates looked at while a node is linked."""

    ef: int = 512
    """Candidates looked at in a search of a graph, at least."""

    nprobe: int = 64
    """Lists looked into by a search of an IVF, at least."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) <= 0:
                raise ValueError(f"{field.name} must be > 0, got {value}")

    def building(self, kind: IndexKind) -> dict[str, Any]:
        """Return what a server is told with a new index."""
        graph = {"M": self.m, "efConstruction": self.ef_construction}
        lists = {"nlist": SEGMENT_LISTS}
        told: dict[IndexKind, dict[str, Any]] = {
            "HNSW": graph,
            "HNSW_SQ": graph | {"sq_type": "SQ8"},
            "IVF_SQ8": lists,
            "IVF_RABITQ": lists | {"refine": True, "refine_type": "SQ8"},
        }
        return told.get(kind, {})

    def searching(self, kind: IndexKind, *, depth: int) -> dict[str, Any]:
        """Return what a server is told with a search for `depth` rows.

        A graph returns no more rows than its `ef`, and finds the last of those badly; an IVF no
        more than the lists hold that it looks into. See docs/scale.md.
        """
        ef = min(max(self.ef, PER_ROW * depth), MAX_EF)
        nprobe = min(max(self.nprobe, -(-PER_ROW * depth // ROWS_PER_LIST)), SEGMENT_LISTS)
        search_list = min(max(MIN_SEARCH_LIST, 2 * depth), MAX_SEARCH_LIST)
        told: dict[IndexKind, dict[str, Any]] = {
            "HNSW": {"ef": ef},
            "HNSW_SQ": {"ef": ef},
            "IVF_SQ8": {"nprobe": nprobe},
            "IVF_RABITQ": {"nprobe": nprobe, "refine_k": 2},
            "DISKANN": {"search_list": search_list},
        }
        return told.get(kind, {})


def vector_bytes(kind: IndexKind, *, dim: int, m: int) -> float:
    """Return what a vector takes in a server's memory, without its columns.

    Args:
        kind: of the index.
        dim: D.
        m: links of a node of a graph.

    Example:
        >>> vector_bytes("HNSW", dim=1_024, m=16), vector_bytes("IVF_SQ8", dim=1_024, m=16)
        (4236.8, 1024)
    """
    return BYTES_PER_DIM[kind] * dim + (LINK_BYTES * m if kind in GRAPHS else 0)


def known_kinds(server: str) -> tuple[IndexKind, ...]:
    """Return the kinds that a server has; all, where its version tells nothing.

    Args:
        server: version as it names it.

    Example:
        >>> "HNSW_SQ" in known_kinds("v2.3.5"), known_kinds("v2.6.1") == KINDS
        (False, True)
    """
    if "lite" in server.split("-")[0].lower():
        return LITE
    number = re.match(r"v?(\d+)\.(\d+)", server)
    if number is None:
        return KINDS
    version = int(number[1]), int(number[2])
    return tuple(kind for kind in KINDS if version >= SINCE.get(kind, (0, 0)))


def chosen_kind(
    asked: IndexType, server: str, *, num_items: int, dim: int, m: int, memory_bytes: int | None
) -> IndexKind:
    """Return the kind of a new collection's index.

    Args:
        asked: the kind; `auto`: the first of `PREFERRED` that fits.
        server: version as it names it.
        num_items: rows of the collection.
        dim: D.
        m: links of a node of a graph.
        memory_bytes: what there is for collections: two, while the model changes. None: not known,
            and anything fits.

    Returns:
        Where nothing fits, the kind that takes least.

    Raises:
        ValueError: the server does not have the kind that was asked for.
    """
    known = known_kinds(server)
    if asked != "auto":
        if asked in known:
            return asked
        since = "" if known == LITE else ", from {}.{} on".format(*SINCE[asked])
        raise ValueError(
            f"index_type must be one that the Milvus has, got {asked!r}{since}, and {server!r}, "
            f"which has {', '.join(known)}; set PONDER_INDEX_TYPE to one of them or to auto"
        )
    if known == LITE:
        return LITE_KIND
    sizes = {
        kind: 2 * num_items * vector_bytes(kind, dim=dim, m=m)
        for kind in PREFERRED
        if kind in known
    }
    fitting = [k for k, size in sizes.items() if memory_bytes is None or size <= memory_bytes]
    return fitting[0] if fitting else min(sizes, key=lambda kind: sizes[kind])
