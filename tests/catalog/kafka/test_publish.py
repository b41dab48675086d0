"""Tests for publish.py: a fake producer for the rules, a real broker for the way there."""

import json

import pytest

from catalog.images.image import data_uri
from catalog.ingest.folder import FolderSource
from catalog.ingest.landing import land
from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.kafka.publish import Published, publish
from catalog.lake.lake import Lake
from catalog.lake.tables import DEAD_LETTERS, EVENTS, ITEMS, MEDIA

T1 = "2026-01-01T00:00:00Z"
CONFIG = KafkaConfig(bootstrap_servers="host-1:9092,host-2:9092")


class FakeProducer:
    """Remembers what was sent; refuses the keys in `refuses`."""

    def __init__(self, *, refuses=()):
        self.refuses, self.sent, self.flushed, self.closed = refuses, [], 0, False

    def __call__(self, **options):
        self.options = options
        return self

    def send(self, topic, *, key, value):
        self.sent.append((topic, key, value))
        return FakeFuture(ValueError("too large") if key in self.refuses else None)

    def flush(self):
        self.flushed = len(self.sent)

    def close(self):
        self.closed = True


class FakeFuture:
    """Fails as soon as anybody asks."""

    def __init__(self, error):
        self.error = error

    def add_errback(self, told):
        if self.error:
            told(self.error)


def item(item_id, **fields):
    return {"item_id": item_id, "updated_at": T1} | fields


def event(event_id, user_id="u"):
    return {
        "event_id": event_id,
        "user_id": user_id,
        "item_id": "a",
        "action": "click",
        "ts": T1,
    }


@pytest.fixture
def source(tmp_path):
    def write(*, items=(), events=()):
        folder = tmp_path / "data"
        folder.mkdir()
        for name, records in (("items", items), ("events", events)):
            lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
            (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
        return FolderSource(folder)

    return write


def test_items_go_out_by_their_id_and_before_the_events_of_a_user(source):
    producer = FakeProducer()
    records = source(items=[item("a"), item("b", deleted=True)], events=[event("e", "user-1")])
    counts = publish(records, CONFIG, producer_factory=producer)
    assert counts == Published(items=2, events=1)
    assert [(topic, key) for topic, key, _ in producer.sent] == [
        ("items", b"a"),
        ("items", b"b"),
        ("events", b"user-1"),
    ]
    assert [json.loads(value) for *_, value in producer.sent] == [
        item("a"),
        item("b", deleted=True),
        event("e", "user-1"),
    ]
    assert producer.options["bootstrap_servers"] == ["host-1:9092", "host-2:9092"]
    assert (producer.flushed, producer.closed) == (3, True)


def test_an_image_named_by_a_path_goes_inline_and_nothing_else_changes(source, image):
    producer = FakeProducer()
    records = source(items=[item("a", image_uri="a.png", shelf=3)])
    (records.base_dir / "a.png").write_bytes(image)
    publish(records, CONFIG, producer_factory=producer)
    [(_, _, value)] = producer.sent
    assert json.loads(value) == item("a", image_uri=data_uri(image), shelf=3)


@pytest.mark.parametrize("uri", ["http://127.0.0.1/a.png", "s3://bucket/a.png"])
def test_an_image_that_must_be_fetched_is_left_to_the_landing(source, uri):
    producer = FakeProducer()
    publish(source(items=[item("a", image_uri=uri)]), CONFIG, producer_factory=producer)
    [(_, key, value)] = producer.sent
    assert (key, json.loads(value)) == (b"a", item("a", image_uri=uri))


def test_further_images_and_a_clip_go_inline_where_they_fit(source, image, monkeypatch):
    further = item("a", image_uris=["a.png", "http://shop/b.png"], video_uri="v.mp4")
    records = source(items=[further])
    (records.base_dir / "a.png").write_bytes(image)
    (records.base_dir / "v.mp4").write_bytes(b"a clip, which is not looked at here")
    for room, fits in ((10_000, True), (len(image), False)):
        monkeypatch.setattr("catalog.kafka.publish.MAX_BYTES", room)
        producer = FakeProducer()
        publish(records, CONFIG, producer_factory=producer)
        [(_, _, value)] = producer.sent
        told = json.loads(value)
        if not fits:
            assert told == further
            continue
        assert told["image_uri"] == data_uri(image)
        assert told["image_uris"] == ["http://shop/b.png"]
        assert told["video_uri"] == data_uri(b"a clip, which is not looked at here")


@pytest.mark.parametrize("line", ['{"item_id": "a"}', "{", '{"item_id": "a", "image_uri": "no"}'])
def test_a_record_that_will_be_rejected_is_sent_as_it_came(source, line):
    producer = FakeProducer()
    publish(source(items=[line], events=[line]), CONFIG, producer_factory=producer)
    assert producer.sent == [("items", None, line.encode()), ("events", None, line.encode())]


def test_a_refused_record_is_an_error_that_counts(source):
    producer = FakeProducer(refuses=(b"b", b"c"))
    records = source(items=[item(name) for name in "abcd"])
    with pytest.raises(RuntimeError, match="2 refusals of 4, the first: ValueError"):
        publish(records, CONFIG, producer_factory=producer)
    assert producer.closed


def test_progress_tells_of_every_record(source):
    told = []
    records = source(items=[item(f"i{n}") for n in range(1_001)], events=[event("e")])
    publish(records, CONFIG, producer_factory=FakeProducer(), progress=told.append)
    assert told == [1_000, 1, 1]


def test_what_goes_through_a_broker_lands_as_the_folder_does(tmp_path, source, image, broker):
    records = source(
        items=[
            item("a", title="first", image_uri="a.png", tags=["x"]),
            item("a", title="second", image_uri="a.png", updated_at="2026-01-02T00:00:00Z"),
            item("b", attributes={"price": 3.5}),
            item("b", updated_at="2026-01-03T00:00:00Z", deleted=True),
            item("c", image_uri="gone.png"),
            "not json",
        ],
        events=[event("e1"), event("e2", "v"), {"event_id": "e3"}],
    )
    (records.base_dir / "a.png").write_bytes(image)
    config = KafkaConfig(
        bootstrap_servers=broker,
        item_topic="published-items",
        event_topic="published-events",
        group_id="published",
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
    )
    by_folder, by_kafka = (Lake(str(tmp_path / name)) for name in ("folder", "kafka"))
    land(records, by_folder)
    assert publish(records, config) == Published(items=6, events=3)
    consume(config, by_kafka, timeout_s=30.0)
    for table in (ITEMS, EVENTS, MEDIA):
        expected, got = (
            each.read(table).sort(table.key).drop("image_uri", strict=False)  # a path, then inline
            for each in (by_folder, by_kafka)
        )
        assert len(expected) > 0
        assert got.equals(expected)
    expected, got = (
        sorted(each.read(DEAD_LETTERS, ["stage", "value"]).rows()) for each in (by_folder, by_kafka)
    )
    assert got == expected
