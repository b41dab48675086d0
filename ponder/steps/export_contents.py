"""Say what exports of features hold, and in what two of them differ."""

from pathlib import Path

from features.export_contents import Difference, FeatureValues, difference, values_of
from ponder.settings import Settings
from ponder.wiring.artifacts import follow


def describe_export(settings: Settings, folder: Path | None = None) -> list[FeatureValues]:
    """Return what the values of each feature of an export are.

    Raises:
        ValueError: there is no export.
    """
    follow(settings, "features")
    return values_of(folder or settings.features_folder)


def diff_exports(one: Path, other: Path) -> Difference:
    """Return in what two exports differ.

    Raises:
        ValueError: one of them is no export.
    """
    return difference(one, other)
