"""Ask what feature groups and spaces are worth, on the exports of one log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from catalog.lake.item_codes import codes_in_use
from catalog.lake.tables import ITEMS
from features.export import read_export
from features.groups import GROUPS, FeatureGroup, groups_named, in_order
from features.log import Log
from features.schema import groups_of
from features.table import FeatureTable
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.steps.rank import experiment_on_pages, with_codes_of
from ponder.steps.saved_reports import write_report
from ponder.wiring.artifacts import follow
from ponder.wiring.codes import with_codes
from ponder.wiring.feature_log import read_log
from ponder.wiring.stores import open_lake
from ranker.config import RankerConfig
from ranker.experiment import ExperimentReport, Variant, variants_of
from ranker.left_out import LeftOutReport, evaluate_left_out
from ranker.rating_log import Known, RatingLog, RatingRules
from ranker.training_table import learnable_pages, rating_table

CONTENT = "content"
"""The space of the export in the home."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RatingsExperiment:
    """What features are worth on a log of ratings: two tables, one rule for all rows of each."""

    protocol: Literal["leave_last_out"] = "leave_last_out"

    as_of: LeftOutReport
    """Nothing later than the request is known, to floors and rankers alike."""

    all_known: LeftOutReport
    """Everybody's likes of all times are known but the answers, to floors and rankers alike."""


def experiment(
    settings: Settings,
    *,
    variants: Sequence[str] = (),
    exports: Sequence[str] = (),
    scores: Sequence[str] = (),
    num_seeds: int = 3,
    config: RankerConfig | None = None,
    liked_from: float | None = None,
    with_image: bool = False,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> ExperimentReport | RatingsExperiment:
    """Train rankers on a matrix of feature groups, spaces and seeds, and write what they are worth.

    Writes `experiment.json` to the reports folder. The pages of a log are split by time; a log of
    ratings is asked for each user's left-out item (`ranker.left_out`).

    Args:
        settings: the deployment, whose export is the space `content` where the log has pages.
        variants: feature groups with commas between, `SPACE:` before them for another space; the
            baseline first. Empty: the groups that need no vectors, then all, in each space.
        exports: further exports of the same requests, as `SPACE=FOLDER`.
        scores: what somebody else's ranker says of the pages, as `NAME=FILE`: a Parquet file of
            request_id, user_id, item_id and score, of every row of the export.
        num_seeds: rankers of each variant.
        config: of every ranker; the defaults when None.
        liked_from: of a log of ratings: those from this value on are liked; the default when None.
        with_image: of a log of ratings: recommend only items that have an image.
        seed: of the intervals and samples.
        progress: told how many more rankers were trained.

    Raises:
        ValueError: a variant or export cannot be read, or an option does not fit the log.
    """
    log = read_log(settings)
    report: ExperimentReport | RatingsExperiment
    if learnable_pages(log).teach():
        if liked_from is not None or with_image:
            raise ValueError(
                "liked_from and with_image are for logs of ratings, got a log of pages; leave "
                "them out"
            )
        follow(settings, "features")
        tables = {CONTENT: read_export(settings.features_folder)} | {
            space: read_export(folder) for space, folder in map(_export, exports)
        }
        for table in tables.values():
            log = with_codes_of(settings, log, table.centring)
        report = experiment_on_pages(
            log,
            tables,
            variants=_variants(
                variants, {space: groups_of(made.features) for space, made in tables.items()}
            ),
            given=dict(given_scores(text, tables[CONTENT]) for text in scores),
            config=config,
            num_seeds=num_seeds,
            seed=seed,
            progress=progress,
        )
    else:
        if exports or scores:
            raise ValueError(
                "exports and scores are of pages, got a log of ratings; leave them out"
            )
        chosen = (
            _variants(variants, {CONTENT: GROUPS})
            if variants
            else variants_of(groups_named(settings.feature_set))
        )
        if any("codes" in variant.groups for variant in chosen.values()):
            codes_id = codes_in_use(open_lake(settings), log.model_version) or ""
            log = replace(log, vectors=with_codes(settings, log.vectors, codes_id))
        report = _on_ratings(
            settings,
            log,
            variants=chosen,
            rules=RatingRules() if liked_from is None else RatingRules(min_rating=liked_from),
            with_image=with_image,
            num_seeds=num_seeds,
            config=config,
            seed=seed,
            progress=progress,
        )
    write_report(settings, "experiment", report)
    return report


def _on_ratings(
    settings: Settings,
    log: Log,
    *,
    variants: Mapping[str, Variant],
    rules: RatingRules,
    with_image: bool,
    num_seeds: int,
    config: RankerConfig | None,
    seed: int,
    progress: Progress,
) -> RatingsExperiment:
    candidates = log.candidates
    if with_image:
        items = open_lake(settings).read(ITEMS, ("item_id", "image_hash"))
        candidates = candidates.filter(
            candidates.is_in(items.drop_nulls("image_hash")["item_id"].implode())
        )

    groups = in_order(group for variant in variants.values() for group in variant.groups)

    def evaluated(known: Known) -> LeftOutReport:
        rated = RatingLog(log, replace(rules, known=known), candidates=candidates, groups=groups)
        return evaluate_left_out(
            rated,
            rating_table(rated, seed=seed),
            variants=variants,
            config=config,
            num_seeds=num_seeds,
            seed=seed,
            progress=progress,
        )

    return RatingsExperiment(as_of=evaluated("as_of"), all_known=evaluated("all"))


def _export(text: str) -> tuple[str, Path]:
    space, equals, folder = text.partition("=")
    if not (space and equals and folder) or space == CONTENT:
        raise ValueError(
            f"an export must be SPACE=FOLDER with a space other than {CONTENT}, got {text!r}"
        )
    return space, Path(folder)


def given_scores(text: str, table: FeatureTable) -> tuple[str, np.ndarray]:
    """Return the name and the scores, [N] float64, of every row of a table.

    Args:
        text: `NAME=FILE`, a Parquet file of request_id, user_id, item_id and score.
        table: whose rows are scored.

    Raises:
        ValueError: the file cannot be read, or a row has no score or several.
    """
    name, _, path = text.partition("=")
    by = ["request_id", "user_id", "item_id"]
    try:
        told = pl.read_parquet(path, columns=[*by, "score"]).unique(by, keep="none")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"scores must be NAME=FILE.parquet, got {text!r}: {error}") from error
    score = table.frame.join(told, on=by, how="left", maintain_order="left")["score"]
    score = score.cast(pl.Float64)
    if num_missing := len(score) - score.drop_nulls().drop_nans().len():
        raise ValueError(
            f"{path} must hold one score of every row of the export, got none or several for "
            f"{num_missing} of {len(score)}"
        )
    return name, score.to_numpy()


def _variants(
    texts: Sequence[str], groups_of_space: Mapping[str, tuple[FeatureGroup, ...]]
) -> dict[str, Variant]:
    """Return what each ranker is given, of the spaces that there are and the groups of each."""
    if not texts and len(groups_of_space) == 1:
        return variants_of(groups_of_space[CONTENT])
    if not texts:
        base = variants_of(groups_of_space[CONTENT])["without match"]
        return {"without match": base} | {
            f"match in {space}": Variant(groups=groups, space=space)
            for space, groups in groups_of_space.items()
        }
    found = {text: _variant(text, groups_of_space) for text in texts}
    if len(found) < 2:
        raise ValueError(f"an experiment must have two variants to compare, got {list(texts)}")
    return found


def _variant(text: str, groups_of_space: Mapping[str, tuple[FeatureGroup, ...]]) -> Variant:
    named, _, names = text.rpartition(":")
    space = named or CONTENT
    if space not in groups_of_space:
        raise ValueError(f"variants must name spaces of {sorted(groups_of_space)}, got {text!r}")
    groups, chosen = groups_of_space[space], set(names.split(","))
    if unknown := sorted(chosen - set(groups)):
        raise ValueError(
            f"a variant must name feature groups of {list(groups)}, got {unknown}; export others "
            "with ponder features export --set"
        )
    return Variant(groups=in_order(chosen), space=space)
