"""Open the requests that rankers learn from, in files that last as long as they are asked for."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.groups import FeatureGroup
from ponder.settings import Settings
from ponder.wiring.feature_log import ScannedLog
from ranker.training_table import TrainingRequests, training_requests_of


@contextmanager
def opened_requests(
    settings: Settings, log: ScannedLog, groups: tuple[FeatureGroup, ...]
) -> Iterator[TrainingRequests]:
    """Make the requests of a log, in a folder of the deployment that is removed afterwards.

    It takes some 50 bytes of disk for each event of the log.

    Args:
        settings: the deployment.
        log: of which.
        groups: of features that are to be made.

    Raises:
        NothingToLearn: the log holds no requests.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="requests-", dir=settings.home) as folder:
        yield training_requests_of(log.events, log.items, log.vectors, Path(folder), groups=groups)
