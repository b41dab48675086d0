"""Tests for ponder/steps/maintenance.py: a vacuum of a deployment whose topics have other names."""

from catalog.lake.tables import DEAD_LETTERS
from ponder.settings import Settings
from ponder.steps.maintenance import vacuum
from ponder.wiring.stores import open_lake
from tests.catalog.lake.test_deleted_items import fill


def test_a_vacuum_knows_the_letters_of_the_deployments_own_topics(tmp_path):
    topics = {"item_topic": "events", "event_topic": "shop.clicks"}  # a name of the other's
    settings = Settings(
        home=tmp_path,
        kafka_item_topic=topics["item_topic"],
        kafka_event_topic=topics["event_topic"],
    )
    fill(open_lake(settings), **topics)
    found = vacuum(settings, days=7, force=False, media=False, deleted=True, dry_run=False)
    expected = {"embeddings": 2, "codes": 2, "rationales": 2, "dead_letters": 3}
    assert found.dropped_remains == expected
    left = open_lake(settings).read(DEAD_LETTERS).select("topic", "offset").sort("offset").rows()
    assert left == [("shop.clicks", 0), ("events", 2), ("events", 3)]
