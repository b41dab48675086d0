"""Train the ranker, and measure what match features are worth to it."""

from catalog.lake.tables import EVENTS, ITEMS
from evaluation.time_split import TimeSplit
from features.export import read_export
from features.log import Log
from features.table import FeatureTable
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.steps.saved_reports import write_report
from ponder.wiring.encoder import configured_version
from ponder.wiring.stores import open_lake
from ponder.wiring.vectors import known_vectors
from ranker.config import RankerConfig
from ranker.experiment import ExperimentReport, run_experiment
from ranker.left_out import LeftOutReport, evaluate_left_out
from ranker.saved import save_ranker
from ranker.training import train
from ranker.training_table import TEST_SHARE, learnable_pages, newest

RankerReport = ExperimentReport | LeftOutReport


def train_ranker(
    settings: Settings, *, seed: int = 0, progress: Progress = ignore_progress
) -> RankerReport:
    """Train rankers with and without match features on the export, compare them and keep one.

    The comparison goes to `ranking.json` in the reports folder; the ranker that is kept is trained
    on all requests, the test's as well.
    """
    table = read_export(settings.features_folder)
    report = evaluate_rankers(read_log(settings), table, seed=seed, progress=progress)
    save_ranker(train(table), settings.ranker_folder)
    write_report(settings, "ranking", report)
    return report


def read_log(settings: Settings) -> Log:
    """Return what a ranker of the deployment may learn from."""
    lake = open_lake(settings)
    vectors = known_vectors(lake, configured_version(settings))
    return Log(lake.read(EVENTS), lake.read(ITEMS), vectors)


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
    liked item among everything they have not seen.
    """
    if learnable_pages(log).teach():
        split = TimeSplit(at=newest(table.frame, TEST_SHARE))
        return run_experiment(table, split=split, config=config, seed=seed)
    return evaluate_left_out(log, table, config=config, seed=seed, progress=progress)
