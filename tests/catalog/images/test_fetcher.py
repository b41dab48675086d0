"""Tests for fetcher.py: what many items' images become, whatever their hosts do."""

import io
import threading
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalog.images.addresses import parse_networks
from catalog.images.fetcher import ImageFetcher, host_of
from catalog.images.image import ImageConfig, ImageUnavailable, data_uri
from catalog.records import Item, RawRecord, RecordError

CONFIG = ImageConfig(max_concurrency=4, per_host=2, retry_wait_s=0.25)


def png(number):
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), (number % 256, number // 256, 7)).save(buffer, format="PNG")
    return buffer.getvalue()


def parsed(uris):
    """Records as the fetcher takes them; None has no image, an error was rejected before."""
    for number, uri in enumerate(uris):
        record = RawRecord("items", 0, number, b"{}")
        if isinstance(uri, RecordError):
            yield record, uri
        else:
            now = datetime(2026, 1, 1, tzinfo=UTC)
            yield record, Item(item_id=f"i{number}", updated_at=now, image_uri=uri)


def load(uris, fetch, *, config=CONFIG, sleep=lambda seconds: None):
    with ImageFetcher(config, fetchers={"http": fetch, "s3": fetch}, sleep=sleep) as images:
        loaded = list(images.load(parsed(uris)))
    assert [entry.record.offset for entry in loaded] == list(range(len(uris)))
    return loaded


def number_of(uri):
    return int(uri.rpartition("/")[2])


def test_images_come_in_the_order_of_their_records_from_wherever_they_are(image):
    rejected = RecordError("validate", "no id")
    uris = [None, "http://h/1", data_uri(image), rejected, "http://h/4", "s3://b/5", "/x"]
    loaded = load(uris, lambda uri: png(number_of(uri)))
    assert [entry.shown.image for entry in loaded] == [
        *(None, png(1), image, None, png(4), png(5), None)
    ]
    assert loaded[3].item is rejected
    assert "no data folder" in str(loaded[6].item)
    assert [entry.item.item_id for entry in (loaded[0], loaded[5])] == ["i0", "i5"]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_outcome_does_not_depend_on_who_is_slow(data):
    """Random hosts, waits and failures; the expected outcome follows from each address alone."""
    uris = data.draw(
        st.lists(
            st.builds(
                "http://h{}/{}/{}".format,
                st.integers(0, 3),
                st.sampled_from(["good", "gone", "late", "junk"]),
                st.integers(0, 5),
            ),
            max_size=40,
        )
    )
    waits = data.draw(st.lists(st.integers(0, 2), min_size=6, max_size=6))
    seen, lock = set(), threading.Lock()

    def fetch(uri):
        time.sleep(waits[number_of(uri)] / 1000)
        with lock:
            first, _ = uri not in seen, seen.add(uri)
        if "/gone/" in uri:
            raise RecordError("media", "gone")
        if "/late/" in uri and first:
            raise ImageUnavailable("try again")
        return b"junk" if "/junk/" in uri else png(number_of(uri))

    config = ImageConfig(max_concurrency=4, per_host=2, max_host_failures=1_000)
    for uri, entry in zip(uris, load(uris, fetch, config=config), strict=True):
        if "/gone/" in uri or "/junk/" in uri:
            assert isinstance(entry.item, RecordError)
            assert entry.shown.image is None
        else:
            assert entry.shown.image == png(number_of(uri))


def test_what_is_fetched_must_be_an_image():
    (entry,) = load(["http://h/1"], lambda uri: b"<html>not here</html>")
    assert "must be a whole PNG" in str(entry.item)


def test_one_address_is_fetched_once_while_it_is_under_way():
    asked, gate = [], threading.Event()

    def fetch(uri):
        asked.append(uri)
        gate.wait(5)
        return png(1)

    uris = ["http://h/1"] * 50
    threading.Timer(0.05, gate.set).start()
    assert [entry.shown.image for entry in load(uris, fetch)] == [png(1)] * 50
    assert asked == ["http://h/1"]


def test_what_is_unavailable_is_tried_again_after_growing_waits():
    waits, asked = [], []

    def fetch(uri):
        asked.append(uri)
        if len(asked) < 3:
            raise ImageUnavailable("down")
        return png(1)

    config = ImageConfig(max_attempts=3, retry_wait_s=0.25)
    (entry,) = load(["http://h/1"], fetch, config=config, sleep=waits.append)
    assert entry.shown.image == png(1)
    assert waits == [0.25, 0.5]
    asked.clear()
    (entry,) = load(["http://h/1"], fetch, config=ImageConfig(max_attempts=2))
    assert isinstance(entry.item, ImageUnavailable)
    assert len(asked) == 2


def test_what_is_refused_is_not_tried_again():
    asked = []

    def fetch(uri):
        asked.append(uri)
        raise RecordError("media", "gone")

    (entry,) = load(["http://h/1"], fetch)
    assert str(entry.item) == "gone"
    assert len(asked) == 1


def test_what_trips_a_library_costs_its_item_only():
    def fetch(uri):
        if uri == "http://h/0":
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "hostile")
        return png(1)

    broken, good = load(["http://h/0", "http://h/1"], fetch)
    assert "got UnicodeDecodeError" in str(broken.item)
    assert good.shown.image == png(1)


def test_a_dead_host_is_left_alone_and_the_others_are_not():
    asked, waits = [], []

    def fetch(uri):
        asked.append(host_of(uri))
        if "dead" in uri:
            raise ImageUnavailable("no answer")
        return png(1)

    config = ImageConfig(max_concurrency=1, per_host=1, max_host_failures=3, max_attempts=2)
    uris = [f"http://{host}/{n}" for n in range(50) for host in ("dead", "good")]
    loaded = load(uris, fetch, config=config, sleep=waits.append)
    assert asked.count("dead") == 3
    assert waits == [config.retry_wait_s]  # the third failure is the last: why wait after it
    assert [entry.shown.image for entry in loaded[1::2]] == [png(1)] * 50
    assert all(isinstance(entry.item, ImageUnavailable) for entry in loaded[::2])
    assert "3 failures in a row from dead" in str(loaded[-2].item)


def test_a_host_that_refuses_is_there_and_not_paused():
    def fetch(uri):
        if number_of(uri) % 2:
            raise ImageUnavailable("no answer")
        raise RecordError("media", "gone")

    config = ImageConfig(max_concurrency=1, max_host_failures=2, max_attempts=1)
    loaded = load([f"http://h/{n}" for n in range(20)], fetch, config=config)
    assert [str(entry.item) for entry in loaded] == ["gone", "no answer"] * 10


def test_other_images_arrive_while_a_slow_host_is_waited_for():
    gate, arrived = threading.Event(), []

    def fetch(uri):
        if "slow" in uri:
            gate.wait(5)
        else:
            arrived.append(uri)
            if len(arrived) == 100:
                gate.set()  # so the slow one ends only after all the others
        return png(1)

    uris = ["http://slow/0", *(f"http://h/{n}" for n in range(100))]
    assert all(entry.shown.image for entry in load(uris, fetch))
    assert len(arrived) == 100


@pytest.mark.parametrize("limit", [{"max_ahead": 10}, {"max_ahead_bytes": 10 * 70}])
def test_only_so_much_is_held_ahead(limit):
    assert 60 < len(png(0)) < 80
    read, gate = 0, threading.Event()

    def counted(uris):
        nonlocal read
        for read, entry in enumerate(parsed(uris), start=1):
            if read == 40:
                gate.set()  # reached only if more is read ahead than may be
            time.sleep(0.001)  # lets what is fetched arrive
            yield entry

    def fetch(uri):
        if number_of(uri) == 0:
            gate.wait(0.3)
        return png(1)

    uris = [f"http://h{n % 7}/{n}" for n in range(60)]
    config = ImageConfig(max_concurrency=4, per_host=2, **limit)
    with ImageFetcher(config, fetchers={"http": fetch}) as images:
        stream = images.load(counted(uris))
        assert next(stream).shown.image
        assert read <= 20
        assert len(list(stream)) == 59


class Together:
    """Gives one image for every address; those on the host "together" only four at a time."""

    def __init__(self):
        self.barrier = threading.Barrier(4)
        self.asked = []

    def __call__(self, uri):
        self.asked.append(uri)
        if "gone" in uri:
            raise RecordError("media", "gone")
        if "slow" in uri:
            time.sleep(0.05)
        if "together" in uri:
            self.barrier.wait(5)
        return png(1)

    def meets(self, images):
        """Whether a fetcher still reads ahead; the barrier breaks when it does not."""
        uris = [f"http://together/{n}" for n in range(4)]
        return all(entry.shown.image for entry in images.load(parsed(uris)))


def test_nothing_stays_held_when_a_stream_has_ended():
    fetch, config = Together(), ImageConfig(max_ahead_bytes=1_000)
    uris = [f"http://h/{n // 3}" for n in range(100)] + [data_uri(png(1))] * 50 + ["http://gone/"]
    with ImageFetcher(config, fetchers={"http": fetch}) as images:
        assert len(list(images.load(parsed(uris)))) == 151
        assert fetch.meets(images)
        before = len(fetch.asked)
        assert len(list(images.load(parsed(["http://h/1"])))) == 1
        assert len(fetch.asked) == before + 1  # a new stream may find a new image there


@pytest.mark.parametrize("uri", [data_uri(png(1)), "http://h/{}"])
def test_nothing_stays_held_when_a_stream_is_given_up(uri):
    fetch, config = (
        Together(),
        ImageConfig(max_ahead=20, max_ahead_bytes=25 * len(data_uri(png(1)))),
    )
    with ImageFetcher(config, fetchers={"http": fetch}) as images:
        for round_ in range(4):
            rest = [uri.format(100 * round_ + n) for n in range(19)]
            stream = images.load(parsed([f"http://slow/{round_}", *rest]))
            assert next(stream).shown.image  # the others were read while it was waited for
            stream.close()
        assert fetch.meets(images)


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("http://A.test:8080/x", "a.test"),
        ("https://[::1]/x", "::1"),
        ("s3://My-Bucket/x", "s3://My-Bucket"),
    ],
)
def test_hosts_are_told_apart_by_name(uri, host):
    assert host_of(uri) == host


def test_an_address_without_a_host_is_refused():
    (entry,) = load(["http:///x"], lambda uri: png(1))
    assert "must name a host" in str(entry.item)


def test_images_are_fetched_from_a_web_server(web, answer):
    for number in range(20):
        web.routes[f"/{number}"] = answer(png(number))
    web.routes["/20"] = answer(b"", status=404)
    web.routes["/21"] = answer(png(1), "Location: http://10.0.0.1/", status=302)
    config = ImageConfig(allow=parse_networks("127.0.0.1/32"), per_host=4)
    with ImageFetcher(config) as images:
        loaded = list(images.load(parsed([web.url(f"/{number}") for number in range(22)])))
    assert [entry.shown.image for entry in loaded[:20]] == [png(number) for number in range(20)]
    assert "got 404" in str(loaded[20].item)
    assert "must lead to a public address" in str(loaded[21].item)
    assert sorted(map(number_of, web.paths())) == list(range(22))


def test_what_is_not_there_when_the_batch_is_due_is_unavailable_and_holds_nothing_up():
    due = threading.Event()

    def fetch(uri):
        if "slow" in uri:
            due.wait(10)
        return png(number_of(uri))

    uris = ["http://slow/1", "http://quick/2", "http://slow/3", "http://slow/4"]
    with ImageFetcher(CONFIG, fetchers={"http": fetch}) as images:
        began = time.monotonic()
        loaded = list(images.load(parsed(uris), within_s=0.3))
        took_s = time.monotonic() - began
        due.set()
        again = list(images.load(parsed(uris), within_s=10))
    assert 0.3 <= took_s < 5
    assert [entry.shown.image for entry in loaded] == [None, png(2), None, None]
    assert isinstance(loaded[0].item, ImageUnavailable)
    assert [entry.shown.image for entry in again] == [png(1), png(2), png(3), png(4)]
