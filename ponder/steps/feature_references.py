"""What features are measured against: made of a stated window, and kept by name and number."""

import logging
from datetime import UTC, datetime, timedelta

from catalog.lake.item_codes import codes_in_use
from features.groups import FeatureGroup, groups_named
from features.reference import DEFAULT, Reference, References
from ponder.settings import Settings
from ponder.steps.days import ALL_DAYS, Days, end_of
from ponder.wiring.codes import with_codes
from ponder.wiring.feature_log import ScannedLog, scan_log
from ponder.wiring.requests import opened_requests
from ponder.wiring.stores import open_lake
from ranker.training_table import TrainingRequests, measured_centring

logger = logging.getLogger(__name__)


def make_reference(
    settings: Settings,
    *,
    name: str = DEFAULT,
    days: Days = ALL_DAYS,
    version: str | None = None,
    groups: tuple[FeatureGroup, ...] | None = None,
    seed: int = 0,
) -> Reference:
    """Measure a new reference on the requests of some days, and put it in use under its name.

    Exports and rankers made with the former one are then no longer comparable: export and train.

    Args:
        settings: the deployment.
        name: of the reference.
        days: the window; without a last day all but the newest fifth of the requests, which
            rankers are tested on.
        version: model version of the vectors; the configured one when None.
        groups: of features that it is for; those of the settings when None.
        seed: of the pairs that the edges of the tiers are measured on.

    Raises:
        NothingToLearn: the log holds no requests.
        ValueError: none of the days has any.
    """
    log, groups = scan_log(settings, version), groups or groups_named(settings.feature_set)
    with opened_requests(settings, log, groups) as asked:
        made = _measured(settings, log, asked, name, days, groups, seed=seed)
        return References(open_lake(settings)).keep(made)


def references(settings: Settings) -> list[Reference]:
    """Return every reference of the lake, in order of name, version and number."""
    return References(open_lake(settings)).all()


def reference_in_use(
    settings: Settings,
    log: ScannedLog,
    asked: TrainingRequests,
    name: str,
    groups: tuple[FeatureGroup, ...],
    *,
    seed: int,
) -> Reference:
    """Return the newest reference of a name, for the log's version; made where there is none."""
    kept = References(open_lake(settings))
    found = kept.newest(name, log.version)
    num_items = log.vectors["item_id"].n_unique()
    if found is None or (not found.num_items and num_items):
        made = _measured(settings, log, asked, name, ALL_DAYS, groups, seed=seed)
        return kept.keep(made)
    if missing := _missing(found, groups):
        logger.warning(
            "reference %s/%d has nothing for features of %s, so they are missing; where there are "
            "enough items and likes for them, and codes were learned, another one will have it: "
            "ponder features reference make --set %s",
            *(found.name, found.number, " and ".join(missing), ",".join(groups)),
        )
    if found.num_items < num_items / 2:
        logger.warning(
            "reference %s/%d was made of %d items, now there are %d; make another one",
            *(found.name, found.number, found.num_items, num_items),
        )
    return found


def _missing(reference: Reference, groups: tuple[FeatureGroup, ...]) -> list[str]:
    """Return the groups of which a reference holds nothing."""
    held = {
        "clusters": reference.centring.clusters,
        "behaviour": reference.centring.behaviour is not None,
        "codes": reference.centring.codes_id,
    }
    return [group for group in groups if not held.get(group, True)]


def _measured(
    settings: Settings,
    log: ScannedLog,
    asked: TrainingRequests,
    name: str,
    days: Days,
    groups: tuple[FeatureGroup, ...],
    *,
    seed: int,
) -> Reference:
    first = None if days.first is None else end_of(days.first) - timedelta(days=1)
    before = asked.test_begins() if days.last is None else end_of(days.last)
    window = asked.store.window(first, before)
    if window is None:
        raise ValueError(f"the window of a reference must have requests, got none in {days}")
    pairs, vectors = asked.store.pairs(first, before), log.vectors
    if "codes" in groups:
        codes_id = codes_in_use(open_lake(settings), log.version) or ""
        vectors = with_codes(settings, vectors, codes_id)
    return Reference(
        name=name,
        number=0,
        centring=measured_centring(
            *(vectors, pairs, asked.counts),
            until=before,
            version=log.version,
            groups=groups,
            seed=seed,
        ),
        first_ts=window[0],
        last_ts=window[1],
        num_items=log.vectors["item_id"].n_unique(),
        made_at=datetime.now(UTC),
    )
