"""The tables of the lake: their columns, types, keys, and what each column means.

Everything that reads or writes the lake takes its schema from here. Vectors are `List(Float32)`
and not `Array`: Delta hands a fixed-size list back as a plain one, and Polars then refuses to scan.
"""

from dataclasses import dataclass

import polars as pl

TIME = pl.Datetime("us", "UTC")

LANDED_AT = "landed_at"
"""When a row was first known to the lake: of all that one landing brings, the same moment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One table of the lake."""

    name: str
    """Folder name below the lake's root."""

    key: tuple[str, ...]
    """Columns that identify a row; no two rows share them."""

    columns: dict[str, pl.DataType | type[pl.DataType]]
    """Column names and types, in order."""

    former_name: str | None = None
    """What an earlier release called its folder; see `catalog.lake.migration`."""

    keeps_landings: bool = False
    """Whether the lake notes beside each row when it landed: `LANDED_AT`, which no sender says and
    only `catalog.lake.lake.Lake.scan_landed` shows."""

    group_rows: int | None = None
    """Rows of a group in its files; None: as many as a writer has. Whoever streams a file holds
    several groups, each of them whole, so rows of some kilobytes lie in small ones."""

    @property
    def schema(self) -> pl.Schema:
        """Return the columns as Polars takes them."""
        return pl.Schema(self.columns)

    @property
    def stored_schema(self) -> pl.Schema:
        """Return the columns of its files: `schema`, and `LANDED_AT` where that is kept."""
        columns = dict(self.columns)
        if self.keeps_landings:
            columns[LANDED_AT] = TIME
        return pl.Schema(columns)

    def empty(self) -> pl.DataFrame:
        """Return a frame with this table's columns and no rows."""
        return pl.DataFrame(schema=self.schema)


ITEMS = Table(
    name="items",
    key=("item_id",),
    columns={
        "item_id": pl.String,
        "title": pl.String,  # null when the source has none
        "text": pl.String,  # description, plot, OCR...; null when the source has none
        "category": pl.String,
        "tags": pl.List(pl.String),  # sorted, without repeats; never null
        "attributes": pl.String,  # JSON object with sorted keys; "{}" when there are none
        "image_uri": pl.String,  # where the image came from; "media:<hash>" when inline
        "image_hash": pl.String,  # sha256 of the bytes, key of `media`; null: no image
        "audio_uri": pl.String,  # where the sound came from
        "created_at": TIME,
        "updated_at": TIME,  # the newer one wins when an item is landed twice
        "deleted": pl.Boolean,  # a tombstone: kept here, absent from everything derived
        "content_hash": pl.String,  # of what an embedder can see; see catalog.records
        "gallery_uris": pl.String,  # JSON list: where further images came from; null: there is none
        "gallery_hashes": pl.List(pl.String),  # of these, in their order
        "video_uri": pl.String,  # where the clip came from
        "video_hash": pl.String,  # key of `media`; null: no clip
        "audio_hash": pl.String,  # key of `media`; null: no sound
    },
)

ITEM_VERSIONS = Table(
    name="item_versions",
    key=("item_id", "updated_at", "content_hash"),
    columns={
        "item_id": pl.String,
        "updated_at": TIME,  # the record's own, as in `items`
        "content_hash": pl.String,
        "category": pl.String,
        "price": pl.Float64,  # the attribute of that name; null when it is none or no number
        "created_at": TIME,
        "landed_at": TIME,  # when the lake first had this record
    },
)

EVENTS = Table(
    name="events",
    key=("event_id",),
    keeps_landings=True,
    columns={
        "event_id": pl.String,
        "request_id": pl.String,  # joins one page's impressions and clicks; nullable
        "user_id": pl.String,
        "item_id": pl.String,
        "action": pl.String,  # one of catalog.records.Action
        "value": pl.Float64,  # the rating, the price paid, the seconds watched; nullable
        "position": pl.Int32,  # 0 = shown first; null when it was not shown in a list
        "ts": TIME,
    },
)

EVENT_CORRECTIONS = Table(
    name="event_corrections",
    key=("event_id", "corrected_at"),
    columns={
        **EVENTS.columns,  # the event as it was
        "corrected_at": TIME,
        "corrected_by": pl.String,
        "reason": pl.String,
        "became": pl.String,  # JSON of the event as it is now; null: it was dropped
    },
)

MEDIA = Table(
    name="media",
    key=("hash",),
    columns={"hash": pl.String, "bytes": pl.Binary},  # sha256 hex; the file as it came
)

DEAD_LETTERS = Table(
    name="dead_letters",
    key=("topic", "partition", "offset"),
    columns={
        "topic": pl.String,  # Kafka topic, or the file's path below the data folder
        "partition": pl.Int32,
        "offset": pl.Int64,  # Kafka offset, or the row's number in the file, from 0
        "stage": pl.String,  # decode, validate, media or embed
        "reason": pl.String,
        "key": pl.Binary,
        "value": pl.Binary,  # the message as it came, so that it can be replayed
        "failed_at": TIME,
        "timestamp": TIME,  # when the broker took it; null for a file's, and for old letters
    },
)

RATIONALES = Table(
    name="rationales",
    key=("item_id", "content_hash", "reasoner", "prompt_version"),
    columns={
        "item_id": pl.String,
        "content_hash": pl.String,
        "reasoner": pl.String,
        "prompt_version": pl.String,
        "rationale": pl.String,
        "summary": pl.String,
        "tokens": pl.Int32,
    },
)

GENERATED_RATIONALES = Table(
    name="generated_rationales",
    former_name="candidates",
    key=("key", "side", "worker", "prompt_version"),
    columns={
        "key": pl.String,  # of the content: an item's content_hash, or a digest of a query
        "side": pl.String,  # "query" or "item"
        "worker": pl.String,
        "prompt_version": pl.String,  # of the worker's prompt, its temperature and its seed
        "text": pl.String,  # null: the worker failed at this content
        "summary": pl.String,
        "num_tokens": pl.Int32,
        "failure": pl.String,  # why; null when there is a rationale
    },
)

EMBEDDINGS = Table(
    name="embeddings",
    key=("item_id", "content_hash", "model_version"),
    group_rows=1_024,  # with vectors of 1,024 dims 4 MB
    columns={
        "item_id": pl.String,
        "content_hash": pl.String,
        "model_version": pl.String,
        "vector": pl.List(pl.Float32),  # L2-normalised; any Matryoshka prefix after re-normalising
        "action": pl.String,  # "direct" or "reason": what the gate chose
        "gate_probability": pl.Float32,  # of "reason", in [0, 1]
        "rationale_tokens": pl.Int32,  # 0 for direct
    },
)

GOLDEN_VECTORS = Table(
    name="golden_vectors",
    key=("model_version", "content"),
    columns={
        "model_version": pl.String,
        "content": pl.String,  # one of `embedder.golden_vectors`
        "vector": pl.List(pl.Float32),  # what the version made of it when it was first used
        "made_with": pl.String,  # JSON object: releases of the packages that made it
        "made_at": TIME,
    },
)

INDEX_VERSIONS = Table(
    name="index_versions",
    key=("version",),
    columns={
        "version": pl.String,
        "state": pl.String,  # one of catalog.lake.index_versions.State
        "switch": pl.Int64,  # the largest is the live version's; null: never live, or retired
        "num_items": pl.Int64,
        "dim": pl.Int32,
        "items_commit": pl.Int64,  # of `items`, the last whose deletions the collection knows
        "digest": pl.String,  # of the keys and content hashes that were validated
        "validation": pl.String,  # JSON object: what the last validation measured
        "filled_at": TIME,
        "validated_at": TIME,
        "live_at": TIME,
        "changed_at": TIME,
        "index_kind": pl.String,  # how its vectors are indexed; null where it was not noted
    },
)

FEATURE_REFERENCES = Table(
    name="feature_references",
    key=("name", "model_version", "number"),
    columns={
        "name": pl.String,
        "model_version": pl.String,
        "number": pl.Int64,  # from 1; the largest is in use
        "centring": pl.String,  # JSON object: model_version, mean, edges, clusters, behaviour
        "first_ts": TIME,
        "last_ts": TIME,
        "num_items": pl.Int64,
        "made_at": TIME,
    },
)

BEHAVIOUR_SPACES = Table(
    name="behaviour_spaces",
    key=("spaces", "number"),
    columns={
        "spaces": pl.String,  # id of `features.behaviour_spaces.BehaviourSpaces`, of a reference
        "number": pl.Int64,  # from 1, in order of time
        "since": TIME,  # midnight from which on requests are compared in it
        "item_ids": pl.List(pl.String),
        "vectors": pl.List(pl.Float32),  # of these, one after another; each L2-normalised
    },
)

CODEBOOKS = Table(
    name="codebooks",
    key=("model_version", "number"),
    columns={
        "model_version": pl.String,
        "number": pl.Int64,  # from 1; the largest is in use
        "codes_id": pl.String,  # of the artefact that holds the centroids
        "config": pl.String,  # JSON object: learner, levels, codes, seed...
        "measured": pl.String,  # JSON object: what vectors lose by them
        "learned_at": TIME,
    },
)

MAX_CODE_LEVELS = 8
"""Codes of an item, at most."""

CODES = Table(
    name="codes",
    key=("item_id", "content_hash", "codes_id"),
    columns={
        "item_id": pl.String,
        "content_hash": pl.String,  # of the content that the vector was made of
        "model_version": pl.String,
        "codes_id": pl.String,
        "codes": pl.List(pl.Int32),  # one for each level, from 0
        "digit": pl.Int32,  # from 0: tells items apart that have the same codes; never changes
    },
)

TABLES = {
    table.name: table
    for table in (
        ITEMS,
        ITEM_VERSIONS,
        EVENTS,
        EVENT_CORRECTIONS,
        MEDIA,
        DEAD_LETTERS,
        RATIONALES,
        GENERATED_RATIONALES,
        EMBEDDINGS,
        GOLDEN_VECTORS,
        INDEX_VERSIONS,
        FEATURE_REFERENCES,
        BEHAVIOUR_SPACES,
        CODEBOOKS,
        CODES,
    )
}
