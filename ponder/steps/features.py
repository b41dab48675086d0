"""Export the match features that rankers are trained on."""

from dataclasses import dataclass

from ponder.settings import Settings
from ponder.steps.rank import read_log
from ranker.training_table import training_table


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedFeatures:
    """What an export holds."""

    model_version: str

    schema_hash: str
    """Of the features, their order and their meaning."""

    num_rows: int
    """An item of a request each."""


def export_features(settings: Settings, *, seed: int = 0) -> ExportedFeatures:
    """Write the match features of every request to the export folder, one partition a day."""
    from features.export import write_export

    manifest = write_export(training_table(read_log(settings), seed=seed), settings.features_folder)
    return ExportedFeatures(
        model_version=manifest["model_version"],
        schema_hash=manifest["schema_hash"],
        num_rows=manifest["num_rows"],
    )
