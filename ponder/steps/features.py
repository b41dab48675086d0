"""Export the match features that rankers are trained on."""

from ponder.settings import Settings
from ponder.steps.land import Counts
from ponder.steps.rank import read_log, training_table


def export_features(settings: Settings, *, seed: int = 0) -> Counts:
    """Writes the match features of every request to the export folder, one partition a day."""
    from features.export import write_export

    manifest = write_export(training_table(read_log(settings), seed=seed), settings.features_folder)
    return {name: manifest[name] for name in ("model_version", "schema_hash", "num_rows")}
