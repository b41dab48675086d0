"""Ask what feature groups and spaces are worth, on the exports of one log."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from features.export import read_export
from features.schema import FeatureGroup
from features.table import FeatureTable
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.steps.rank import experiment_on_pages, read_log
from ponder.steps.saved_reports import write_report
from ranker.config import RankerConfig
from ranker.experiment import ExperimentReport, Variant
from ranker.training_table import learnable_pages

CONTENT = "content"
"""The space of the export in the home."""


def experiment(
    settings: Settings,
    *,
    variants: Sequence[str] = (),
    exports: Sequence[str] = (),
    num_seeds: int = 3,
    config: RankerConfig | None = None,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> ExperimentReport:
    """Train rankers on a matrix of feature groups, spaces and seeds, and write what they are worth.

    Writes `experiment.json` to the reports folder.

    Args:
        settings: the deployment, whose export is the space `content`.
        variants: feature groups with commas between, `SPACE:` before them for another space; the
            baseline first. Empty: all groups but `match`, then all, in each space.
        exports: further exports of the same requests, as `SPACE=FOLDER`.
        num_seeds: rankers of each variant.
        config: of every ranker; the defaults when None.
        seed: of the intervals and samples.
        progress: told how many more rankers were trained.

    Raises:
        ValueError: a variant or export cannot be read, or the log has no pages.
    """
    tables = {CONTENT: read_export(settings.features_folder)} | {
        space: read_export(folder) for space, folder in map(_export, exports)
    }
    log = read_log(settings)
    if not learnable_pages(log).teach():
        raise ValueError(
            "an experiment needs a log of pages, got one of ratings; ponder ranker train compares "
            "its rankers on each user's left-out item"
        )
    report = experiment_on_pages(
        log,
        tables,
        variants=_variants(variants, tables),
        config=config,
        num_seeds=num_seeds,
        seed=seed,
        progress=progress,
    )
    write_report(settings, "experiment", report)
    return report


def _export(text: str) -> tuple[str, Path]:
    space, equals, folder = text.partition("=")
    if not (space and equals and folder) or space == CONTENT:
        raise ValueError(
            f"an export must be SPACE=FOLDER with a space other than {CONTENT}, got {text!r}"
        )
    return space, Path(folder)


def _variants(texts: Sequence[str], tables: Mapping[str, FeatureTable]) -> dict[str, Variant]:
    groups = tuple(dict.fromkeys(feature.group for feature in tables[CONTENT].features))
    if not texts:
        base = Variant(groups=tuple(group for group in groups if group != "match"))
        several = len(tables) > 1
        return {"without match": base} | {
            f"match in {space}" if several else "with match": Variant(groups=groups, space=space)
            for space in tables
        }
    found = {text: _variant(text, groups) for text in texts}
    if len(found) < 2:
        raise ValueError(f"an experiment must have two variants to compare, got {list(texts)}")
    return found


def _variant(text: str, groups: Sequence[FeatureGroup]) -> Variant:
    space, colon, names = text.rpartition(":")
    chosen = tuple(name for name in groups if name in names.split(","))
    if unknown := sorted(set(names.split(",")) - set(groups)):
        raise ValueError(f"a variant must name feature groups of {list(groups)}, got {unknown}")
    return Variant(groups=chosen, space=space if colon else CONTENT)
