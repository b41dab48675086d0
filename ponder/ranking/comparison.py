"""A newly trained ranker against the champion, on requests that neither has learnt from.

The champion was trained on all requests until some moment, so only later ones are a test for it.
The candidate stands for itself as it would be without them: trained on what came before.
"""

from datetime import timedelta

from evaluation.bootstrap import bootstrap_difference
from evaluation.metrics import measure
from evaluation.rankings import Rankings
from evaluation.scorings import evaluate_scorings
from features.centred_embeddings import CentredEmbeddings
from features.groups import in_order
from features.log import Log
from features.table import KEY_COLUMNS, FeatureConfig, FeatureTable, build_features
from ponder.ranking.promotion import RankerComparison
from ranker.config import RankerConfig
from ranker.left_out import METRICS, held_out_ranks
from ranker.model import Ranker
from ranker.rating_log import RatingLog
from ranker.training import train
from ranker.training_rows import NothingToLearn
from ranker.training_table import TEST_SHARE, newest


def compare_on_pages(
    log: Log,
    table: FeatureTable,
    champion: Ranker,
    name: str,
    *,
    config: RankerConfig,
    seed: int = 0,
) -> RankerComparison:
    """Compare on the newest fifth of the requests, as far as they came after the champion.

    Args:
        log: what the table was made from, with the events as its pages have them.
        table: of the export.
        champion: the ranker in use.
        name: of the champion.
        config: of the candidate.
        seed: of the intervals.
    """
    if obstacle := _obstacle(champion, table):
        return RankerComparison(champion=name, num_requests=0, gain={}, obstacle=obstacle)
    moment = champion.trained_on.last_ts + timedelta(microseconds=1)
    at = max(newest(table.frame, TEST_SHARE), moment)
    before = table.with_frame(table.frame.filter(table.frame["ts"] < at))
    after = table.with_frame(table.frame.filter(table.frame["ts"] >= at))
    nothing = RankerComparison(champion=name, num_requests=0, gain={})
    if after.frame.is_empty():
        return nothing
    try:
        candidate = train(before, config=config)
    except NothingToLearn:
        return nothing
    scores = {
        "champion": champion.predict(_as_read(log, after, champion)),
        "candidate": candidate.predict(after),
    }
    found = evaluate_scorings(after.frame, scores, seed=seed)
    return RankerComparison(
        champion=name, num_requests=found.num_requests, gain=found.differences["candidate"]
    )


def compare_on_left_out(
    log: Log, table: FeatureTable, champion: Ranker, name: str, candidate: Ranker, *, seed: int = 0
) -> RankerComparison:
    """Compare on every user's left-out item, which no ranker has learnt from.

    Args:
        log: what the table was made from.
        table: of the export.
        champion: the ranker in use.
        name: of the champion.
        candidate: trained on the table.
        seed: of the intervals.
    """
    if obstacle := _obstacle(champion, table):
        return RankerComparison(champion=name, num_requests=0, gain={}, obstacle=obstacle)
    rated = RatingLog(log, groups=in_order([*candidate.groups, *champion.groups]))
    ranks = held_out_ranks(rated, rated.test(), {"champion": champion, "candidate": candidate})
    values = {who: measure(Rankings.of_places(rank_U), METRICS) for who, rank_U in ranks.items()}
    gain = {
        metric: bootstrap_difference(
            values["candidate"][metric], values["champion"][metric], seed=seed
        )
        for metric in METRICS
    }
    return RankerComparison(champion=name, num_requests=len(ranks["champion"]), gain=gain)


def _obstacle(champion: Ranker, table: FeatureTable) -> str:
    try:
        champion.check(FeatureConfig(groups=champion.groups).schema_hash, table.model_version)
    except ValueError as error:
        return str(error)
    return ""


def _as_read(log: Log, table: FeatureTable, ranker: Ranker) -> FeatureTable:
    """Return the table's rows with the features that a ranker reads, centred as they were."""
    config = FeatureConfig(groups=ranker.groups)
    if table.centring == ranker.centring and table.schema_hash == config.schema_hash:
        return table
    centred = CentredEmbeddings.of(log.vectors, ranker.centring)
    keys = table.frame.select(KEY_COLUMNS)
    return build_features(keys, log.events, log.items, log.vectors, config=config, centred=centred)
