"""Land a past window of the Kafka topics again."""

from typing import TYPE_CHECKING

from catalog.ingest.report import LandingReport
from ponder.settings import Settings
from ponder.steps.progress import Progress, ignore_progress
from ponder.telemetry.observation import observed
from ponder.wiring.stores import image_config, kafka_config, message_decoders, open_lake

if TYPE_CHECKING:
    from catalog.kafka.backfill import Window


@observed("backfill")
def backfill(
    settings: Settings, window: "Window", *, progress: Progress = ignore_progress
) -> LandingReport:
    """Land a past window of the topics again; the group's place in them does not move.

    Raises:
        ValueError: no brokers are set.
    """
    from catalog.kafka.backfill import backfill

    return backfill(
        kafka_config(settings),
        open_lake(settings),
        window,
        image_config=image_config(settings),
        decoders=message_decoders(settings),
        progress=progress,
    )
