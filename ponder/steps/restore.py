"""Bring back what was lost: a table as it was, collections from the lake, damaged exports."""

from dataclasses import dataclass
from datetime import datetime

from catalog.lake.index_versions import IndexVersions
from catalog.lake.restore import EarlierState, earlier_state, restore
from catalog.lake.tables import EVENTS, ITEM_VERSIONS, ITEMS, TABLES
from features.export import data_hash, drop_damaged, read_manifest
from features.groups import in_order
from ponder.settings import Settings
from ponder.steps.features import export_features
from ponder.steps.index import sync_collection
from ponder.telemetry.observation import observed
from ponder.wiring.stores import open_index, open_lake

LANDED = (ITEMS, ITEM_VERSIONS, EVENTS)
"""Tables that landings fill."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoredTable:
    """A table that is what it was."""

    table: str

    version: int
    """Commit whose rows it has."""

    commit: int
    """The new commit."""

    rows_before: int
    rows: int

    then: tuple[str, ...]
    """What is left to do, as commands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoredIndex:
    """Collections that are equal to the lake."""

    live: str | None
    """The version that the alias leads to; None where none is."""

    written: dict[str, int]
    """Items that were missing or differed, by version."""

    unchanged: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoredFeatures:
    """An export whose files are those that its manifest names."""

    days_made: int

    is_as_before: bool
    """Whether its rows are what they were, to the byte. They are not where the lake has changed."""


def earlier_table(settings: Settings, table: str, to: int | datetime) -> EarlierState:
    """Return what a table was at a commit or a moment, beside what it is; nothing is changed.

    Raises:
        ValueError: there is no such table, or its history does not hold that.
    """
    if table not in TABLES:
        raise ValueError(f"the table must be one of {', '.join(TABLES)}, got {table!r}")
    return earlier_state(open_lake(settings), TABLES[table], to)


@observed("restore")
def restore_table(settings: Settings, table: str, to: int | datetime) -> RestoredTable:
    """Bring a table back to what it was at a commit or a moment.

    Raises:
        ValueError: there is no such table, its history does not hold that, or a vacuum has removed
            files of then.
    """
    state = earlier_table(settings, table, to)
    commit = restore(open_lake(settings), TABLES[table], state.version)
    then = ["ponder audit"]
    if TABLES[table] in LANDED:
        then = [f"ponder backfill --from {state.at.isoformat()}", "ponder index", *then]
    return RestoredTable(
        table=table,
        version=state.version,
        commit=commit,
        rows_before=state.present_rows,
        rows=state.rows,
        then=tuple(then),
    )


@observed("restore")
def restore_index(settings: Settings, *, version: str = "") -> RestoredIndex:
    """Fill collections from the lake, also of a new Milvus, and lead the alias to the live one.

    Nothing is embedded, and no model is loaded.

    Args:
        settings: the deployment.
        version: whose collection; empty: the live version's and the previous one's.

    Raises:
        LookupError: no version was ever live, or the lake has no vectors of the one that is asked.
    """
    lake = open_lake(settings)
    known = IndexVersions(lake)
    live = known.live()
    wanted = [version] if version else [v for v in (live, known.previous()) if v is not None]
    if not wanted:
        raise LookupError(
            "a version must have been live to be restored, got none; name one of the lake's, or "
            "run ponder index and ponder promote"
        )
    written, unchanged = {}, {}
    with open_index(settings) as milvus:
        for each in wanted:
            report = sync_collection(lake, milvus, each)
            if report is None:
                raise LookupError(
                    f"version {each!r} must have vectors in the lake, got none; embed with it first"
                )
            written[each], unchanged[each] = report.upserted, report.unchanged
        if live in written:
            milvus.promote(live)
    return RestoredIndex(live=live, written=written, unchanged=unchanged)


def restore_features(settings: Settings) -> RestoredFeatures:
    """Make days of the export again whose files are gone or are not what the manifest names.

    Raises:
        ValueError: the manifest itself is gone or was edited; then export anew.
    """
    folder = settings.features_folder
    before = read_manifest(folder)
    drop_damaged(folder, before)
    made = export_features(
        settings,
        version=before["model_version"],
        groups=in_order(feature["group"] for feature in before["features"]),
    )
    return RestoredFeatures(
        days_made=made.made, is_as_before=data_hash(read_manifest(folder)) == data_hash(before)
    )
