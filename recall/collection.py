"""How item vectors lie in Milvus: where, under which names, in which columns and index.

Milvus Lite drops a collection's description and properties without a word, so the model version is
kept in the one thing that every Milvus keeps: the collection's name, written reversibly.
"""

import re
from dataclasses import dataclass, field
from typing import get_args

from pymilvus import CollectionSchema, DataType, MilvusClient
from pymilvus.milvus_client.index import IndexParams

from recall.index_kinds import IndexKind, IndexParameters, IndexType

MAX_LIMIT = 16_384  # the most rows a Milvus server hands out at once
MAX_STRING_BYTES = 65_535  # the longest VARCHAR, and the largest JSON value, of a server
MAX_TAGS = 4_096  # the longest ARRAY of a server
MAX_NAME_CHARS = 255
CODES = "codes"
MAX_CODES_BYTES = 64  # 8 codes of 5 digits
SCALAR_INDEXES = {
    "category": "Trie",
    "created_at": "STL_SORT",
    "codes": "Trie",
    "vector_key": "STL_SORT",
    "place": "STL_SORT",
}
NEVER_MS = 2**31 - 1  # how gRPC spells it


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexConfig:
    """Where the item vectors live and how they are searched."""

    uri: str
    """Milvus endpoint, e.g. http://milvus:19530; a path ending in .db selects Milvus Lite, which
    one process at a time may open."""

    token: str = field(default="", repr=False)
    """`user:password` or an API key; empty for none, as Milvus Lite wants it."""

    alias: str = "items"
    """Name under which the live version is served; letters and digits. Collections are called
    `<alias>_<version>`."""

    index_type: IndexType = "auto"
    """Kind of a new collection's index; `auto` chooses by rows, dim and `memory_bytes`."""

    parameters: IndexParameters = field(default_factory=IndexParameters)
    """What the kinds are told."""

    memory_bytes: int | None = None
    """What a server has for collections, two while the model changes; None: not known."""

    search_timeout_s: float = 5.0
    """Give up on what one query asks of Milvus, all calls together, after this many seconds."""

    call_timeout_s: float = 300.0
    """Give up on one call that no query waits for, such as a sync's, after this many seconds."""

    max_identical: int = 16
    """Items of one and the same vector that lie in the graph; see `recall.crowds`."""

    folder_wait_s: float = 60.0
    """Give up on a Milvus Lite folder that another process holds after this many seconds."""

    upsert_bytes: int = 16 * 2**20
    """Size of one write, in bytes; Milvus refuses messages above 64 MiB."""

    page_rows: int = 2_000
    """Rows read or deleted at once; with their vectors they must fit into 64 MiB."""

    @property
    def shown_uri(self) -> str:
        """The endpoint as a message may name it: without the password that it may carry."""
        return re.sub(r"(?<=://)[^/@\s]+(?=@)", "******", self.uri)

    @property
    def is_lite(self) -> bool:
        """Whether that is a Milvus Lite in this process."""
        return self.uri.endswith(".db")

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", self.alias):
            raise ValueError(f"alias must be letters and digits, got {self.alias!r}")
        if self.index_type not in get_args(IndexType):
            raise ValueError(
                f"index_type must be one of {get_args(IndexType)}, got {self.index_type!r}"
            )
        for name in (
            "search_timeout_s",
            "call_timeout_s",
            "max_identical",
            "folder_wait_s",
            "page_rows",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 < self.upsert_bytes <= 48 * 2**20:
            raise ValueError(f"upsert_bytes must be in (0, 48 MiB], got {self.upsert_bytes}")


def channel_options(uri: str) -> dict[str, int]:
    """Return the options of the gRPC channel to a Milvus.

    pymilvus asks every ten seconds whether the server is still there. Milvus Lite takes that for an
    attack while a long call is under way and hangs up ("Too many pings"); it lives in this process,
    so there is nothing to ask.

    Example:
        >>> channel_options("http://milvus:19530")
        {}
    """
    return {"grpc.keepalive_time_ms": NEVER_MS} if uri.endswith(".db") else {}


def collection_name(alias: str, version: str) -> str:
    """Return the name of the collection that holds a model version's vectors.

    Letters and digits stay; every other byte becomes `_` and two hexadecimal digits, so that two
    versions never share a collection and `version_of` can read the version back.

    Example:
        >>> collection_name("items", "nano-1.2")
        'items_nano_2d1_2e2'

    Raises:
        ValueError: the version is empty, or its name would be too long for Milvus.
    """
    escaped = re.sub(rb"[^A-Za-z0-9]", lambda byte: b"_%02x" % byte[0][0], version.encode())
    name = f"{alias}_{escaped.decode()}"
    if not version or len(name) > MAX_NAME_CHARS:
        raise ValueError(
            f"a version must give a collection name of at most {MAX_NAME_CHARS} characters and "
            f"not be empty, got {version!r}"
        )
    return name


def version_of(alias: str, name: str) -> str | None:
    """Return the model version in a collection's name; None when the name is not one of ours.

    Example:
        >>> version_of("items", "items_nano_2d1_2e2")
        'nano-1.2'
    """
    match = re.fullmatch(rf"{alias}_((?:[A-Za-z0-9]|_[0-9a-f]{{2}})+)", name)
    if match is None:
        return None
    raw = re.sub(rb"_(..)", lambda code: bytes.fromhex(code[1].decode()), match[1].encode())
    return raw.decode(errors="replace")


def item_schema(dim: int) -> CollectionSchema:
    """Return the columns of an item collection.

    item_id is the key, given by us: with automatic ids an upsert would make a new row. row_hash
    stands for every other column but the vector; see `recall.rows`. vector_key and place are told
    in `recall.crowds`.
    """
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("item_id", DataType.VARCHAR, is_primary=True, max_length=1024)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("content_hash", DataType.VARCHAR, max_length=64)
    schema.add_field("row_hash", DataType.VARCHAR, max_length=64)
    # "" where an item has none: nullable columns are not known to servers before Milvus 2.5.
    schema.add_field("category", DataType.VARCHAR, max_length=MAX_STRING_BYTES)
    schema.add_field(
        "tags",
        DataType.ARRAY,
        element_type=DataType.VARCHAR,
        max_length=MAX_STRING_BYTES,
        max_capacity=MAX_TAGS,
    )
    schema.add_field("attributes", DataType.JSON)
    schema.add_field("created_at", DataType.INT64)  # microseconds since 1970, UTC
    # "" where an item has none; as of `catalog.lake.living_parts`.
    schema.add_field(CODES, DataType.VARCHAR, max_length=MAX_CODES_BYTES)
    schema.add_field("vector_key", DataType.INT64)
    schema.add_field("place", DataType.INT8)
    return schema


def indexes(config: IndexConfig, kind: IndexKind) -> IndexParams:
    """Return how the columns of a collection are indexed: vectors by cosine, scalars for filters.

    The kinds for scalars are those that every server since 2.3 has. Arrays and JSON have none
    there; Milvus Lite needs none, for it answers no query.
    """
    params = MilvusClient.prepare_index_params()
    params.add_index(
        "vector",
        index_type=kind,
        metric_type="COSINE",
        params=config.parameters.building(kind),
    )
    for name, scalar in {} if config.is_lite else SCALAR_INDEXES.items():
        params.add_index(name, index_type=scalar)
    return params
