"""Train the ranker, measure what its features are worth, and keep it when it is as good."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from evaluation.time_split import TimeSplit
from features.centring import Centring
from features.export import data_hash, read_export, read_manifest
from features.log import Log
from features.schema import groups_of
from features.table import FeatureTable
from ponder.finetuning.promotion import Check
from ponder.json_form import json_form
from ponder.ranking.comparison import compare_on_left_out, compare_on_pages
from ponder.ranking.promotion import RankerComparison, ranker_verdict
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.steps.saved_reports import write_report
from ponder.telemetry.observation import observed
from ponder.wiring.artifacts import sharing
from ponder.wiring.codes import with_codes
from ponder.wiring.encoder import configured_version
from ponder.wiring.feature_log import read_log
from ranker.config import RankerConfig
from ranker.experiment import ExperimentReport, Variant, run_experiment, variants_of, with_alarms
from ranker.leaks import Alarm, clock_alarm, shifted, too_good
from ranker.left_out import LeftOutReport, evaluate_left_out
from ranker.model import Ranker
from ranker.rating_log import RatingLog
from ranker.saved import load_ranker, save_ranker
from ranker.training import train
from ranker.training_rows import NothingToLearn
from ranker.training_table import TEST_SHARE, learnable_pages, newest

__all__ = [
    "NothingToLearn",
    "PromotedRanker",
    "RankerReport",
    "RegisteredRanker",
    "TrainedRanker",
    "evaluate_rankers",
    "experiment_on_pages",
    "promote_ranker",
    "registered_rankers",
    "train_ranker",
]

RankerReport = ExperimentReport | LeftOutReport

REPLAYED_REQUESTS = 20
"""Whose features are made again without what came later."""

SHIFTED_REQUESTS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedRanker:
    """A ranker that was trained and registered, and whether it is in use."""

    name: str

    promoted: bool
    """Whether it is the champion of its embedder version now."""

    before: str | None
    """The champion before; None when there was none."""

    checks: tuple[Check, ...]
    """Every rule of promotion that was applied."""

    report: RankerReport
    """Without match features and with them; also in `ranking.json` of the reports folder."""


@sharing("features", "rankers")
@observed("ranker", skips=(NothingToLearn,))
def train_ranker(
    settings: Settings,
    *,
    config: RankerConfig | None = None,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> TrainedRanker:
    """Train a ranker on all of the export, register it, and promote it when the rules are for it.

    Rankers with and without match features are compared beside, which is where leaks show. A log
    with nothing to learn leaves the champion as it is.

    Raises:
        NothingToLearn: no request of the export tells a better item from a worse one.
        ValueError: there is no export, it is not what its manifest says, or a label is out of
            range.
    """
    config = config or RankerConfig()
    table = read_export(settings.features_folder)
    log = with_codes_of(settings, read_log(settings), table.centring)
    digest = data_hash(read_manifest(settings.features_folder))
    ranker = train(table, config=config, data_hash=digest)
    report = evaluate_rankers(log, table, config=config, seed=seed, progress=progress)
    write_report(settings, "ranking", report)
    rankers = settings.rankers(table.model_version)
    before = rankers.champion()
    comparison = None
    if before is not None:
        champion = load_ranker(rankers.path(before))
        known = with_codes_of(settings, log, champion.centring)
        comparison = _compared(known, table, ranker, champion, before)
    judged = ranker_verdict(comparison, report.alarms, settings.ranker_promotion)
    name = _registered(settings, ranker, comparison, judged.checks)
    if judged.promoted:
        rankers.promote(name)
    return TrainedRanker(
        name=name, promoted=judged.promoted, before=before, checks=judged.checks, report=report
    )


def with_codes_of(settings: Settings, log: Log, centring: Centring) -> Log:
    """Return the log with the codes that features of a centring compare."""
    return replace(log, vectors=with_codes(settings, log.vectors, centring.codes_id))


def _compared(
    log: Log, table: FeatureTable, candidate: Ranker, champion: Ranker, name: str
) -> RankerComparison:
    pages = learnable_pages(log)
    if pages.teach():
        as_paged = replace(log, events=pages.events)
        return compare_on_pages(as_paged, table, champion, name, config=candidate.config)
    return compare_on_left_out(log, table, champion, name, candidate)


def _registered(
    settings: Settings,
    ranker: Ranker,
    comparison: RankerComparison | None,
    checks: tuple[Check, ...],
) -> str:
    """Put the ranker into the registry with its lineage, and return its name."""
    lineage = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "comparison": json_form(comparison),
        "promoted": all(check.passed for check in checks),
        "checks": json_form(checks),
        "thresholds": asdict(settings.ranker_promotion),
    }
    with tempfile.TemporaryDirectory() as folder:
        digest = save_ranker(ranker, Path(folder) / "ranker")
        rankers = settings.rankers(ranker.model_version)
        return rankers.keep(Path(folder) / "ranker", f"ranker-{digest}", lineage=lineage)


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredRanker:
    """A ranker that may serve."""

    name: str
    is_champion: bool
    created_at: str

    passed: bool
    """Whether the rules of promotion were for it."""

    num_rows: int
    """It was trained on."""


@sharing("rankers")
def registered_rankers(
    settings: Settings, version: str | None = None
) -> tuple[RegisteredRanker, ...]:
    """Return the rankers of an embedder version, the configured one's when None; newest first."""
    rankers = settings.rankers(version or configured_version(settings))
    champion = rankers.champion()
    manifests = {name: rankers.manifest(name) for name in rankers.names()}
    found = [
        RegisteredRanker(
            name=name,
            is_champion=name == champion,
            created_at=manifest["lineage"]["created_at"],
            passed=manifest["lineage"]["promoted"],
            num_rows=manifest["trained_on"]["num_rows"],
        )
        for name, manifest in manifests.items()
    ]
    return tuple(sorted(found, key=lambda row: (row.created_at, row.name), reverse=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class PromotedRanker:
    """A change of champions."""

    before: str | None
    champion: str


@sharing("rankers")
def promote_ranker(
    settings: Settings, name: str, version: str | None = None, *, force: bool = False
) -> PromotedRanker:
    """Make a registered ranker the champion of an embedder version, the configured one when None.

    Raises:
        LookupError: there is no such ranker.
        ValueError: the rules of promotion were against it, and `force` is not set; or its folder
            is not as it was saved.
    """
    rankers = settings.rankers(version or configured_version(settings))
    lineage = rankers.manifest(name)["lineage"]
    if not lineage["promoted"] and not force:
        reasons = "; ".join(check["says"] for check in lineage["checks"] if not check["passed"])
        raise ValueError(f"{name} was refused: {reasons}; --force promotes it anyway")
    load_ranker(rankers.path(name))
    return PromotedRanker(before=rankers.promote(name), champion=name)


def evaluate_rankers(
    log: Log,
    table: FeatureTable,
    *,
    config: RankerConfig | None = None,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> RankerReport:
    """Report what rankers with and without match features are worth.

    The test of a log with pages are the newest fifth of them; of one without, each user's last
    liked item among everything they have not seen, by stage one and then the ranker.
    """
    if learnable_pages(log).teach():
        return experiment_on_pages(log, table, config=config, seed=seed, progress=progress)
    rated = RatingLog(log, groups=groups_of(table.features))
    return evaluate_left_out(rated, table, config=config, seed=seed, progress=progress)


def experiment_on_pages(
    log: Log,
    tables: FeatureTable | Mapping[str, FeatureTable],
    *,
    variants: Mapping[str, Variant] | None = None,
    given: Mapping[str, np.ndarray] | None = None,
    config: RankerConfig | None = None,
    num_seeds: int = 1,
    seed: int = 0,
    progress: Progress = ignore_progress,
) -> ExperimentReport:
    """Compare variants on the newest fifth of the pages, all alarms of leaks on.

    Args:
        log: what the tables were made from.
        tables: as of `ranker.experiment.run_experiment`; the last variant's are made of the log's
            vectors.
        variants: the baseline first; those of `ranker.experiment.variants_of` when None.
        given: scores of others, as of `run_experiment`.
        config: of every ranker.
        num_seeds: rankers of each variant.
        seed: of the intervals and samples.
        progress: told how many more rankers were trained.
    """
    by_space = {"content": tables} if isinstance(tables, FeatureTable) else tables
    variants = variants or variants_of(groups_of(next(iter(by_space.values())).features))
    table = by_space[list(variants.values())[-1].space]
    report = run_experiment(
        by_space,
        split=TimeSplit(at=newest(table.frame, TEST_SHARE)),
        variants=variants,
        given=given,
        config=config,
        num_seeds=num_seeds,
        seed=seed,
        progress=progress,
    )
    paged = replace(log, events=learnable_pages(log).events)
    late = shifted(paged, table, num_requests=SHIFTED_REQUESTS, seed=seed)
    heard = [name for alarm in too_good(late) for name in alarm.features]
    alarms: list[Alarm] = clock_alarm(paged, table, num_requests=REPLAYED_REQUESTS, seed=seed)
    return with_alarms(report, alarms, shifted_features=heard)
