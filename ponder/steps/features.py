"""Export the match features that rankers are trained on."""

import logging
from dataclasses import dataclass

from features.pages import PageCounts
from ponder.settings import Settings
from ponder.steps.rank import read_log
from ponder.wiring.counts import DailyCounts
from ponder.wiring.stores import open_lake
from ranker.training_rows import NothingToLearn
from ranker.training_table import Protocol, training_table

__all__ = ["ExportedFeatures", "NothingToLearn", "export_features"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedFeatures:
    """What an export holds."""

    model_version: str

    schema_hash: str
    """Of the features, their order and their meaning."""

    num_rows: int
    """An item of a request each."""

    protocol: Protocol
    """What a request is: a page shown, or a liked item among sampled unseen ones."""

    pages: PageCounts
    """What the log's impressions came to, and what was left out by reason."""


def export_features(settings: Settings, *, seed: int = 0) -> ExportedFeatures:
    """Write the match features of every request to the export folder, one partition a day.

    Raises:
        NothingToLearn: the log holds no requests.
    """
    from features.export import write_export

    made = training_table(read_log(settings), seed=seed)
    if oddities := made.pages.oddities():
        counts = " ".join(f"{name}={count}" for name, count in oddities.items())
        logger.warning("pages of the event log, left out or mended: %s", counts)
    manifest = write_export(made.table, settings.features_folder)
    DailyCounts(open_lake(settings), settings.features_folder).recount()
    return ExportedFeatures(
        model_version=manifest["model_version"],
        schema_hash=manifest["schema_hash"],
        num_rows=manifest["num_rows"],
        protocol=made.protocol,
        pages=made.pages,
    )
