"""Metrics of processes that end: what a file holds after several of them."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from ponder.telemetry.outlets import Outlets


def told(path):
    """Name and labels -> value of every number in a textfile."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def night(*, items, outcome, when):
    """What one process counted."""
    registry = CollectorRegistry()
    Counter("made", "Items.", ["kind"], registry=registry).labels(outcome).inc(items)
    Gauge("ended", "When.", ["outcome"], registry=registry).labels(outcome).set(when)
    Histogram("took", "Seconds.", buckets=(1, 10), registry=registry).observe(items)
    return registry


def test_counters_go_on_where_an_earlier_process_stopped_and_gauges_are_the_last_ones(tmp_path):
    outlets = Outlets(folder=tmp_path, gateway="")
    outlets.publish("night", night(items=5, outcome="done", when=100), adds_up=True)
    outlets.publish("night", night(items=2, outcome="failed", when=200), adds_up=True)
    outlets.publish("night", night(items=4, outcome="done", when=300), adds_up=True)
    numbers = told(tmp_path / "ponder_night.prom")
    assert numbers[("made_total", "done")] == 9
    assert numbers[("made_total", "failed")] == 2  # which the last process did not tell
    assert numbers[("ended", "done")] == 300
    assert numbers[("ended", "failed")] == 200
    assert numbers[("took_count",)] == 3
    assert numbers[("took_bucket", "10.0")] == 3
    assert numbers[("took_bucket", "1.0")] == 0
    assert not [name for name, *_ in numbers if name.endswith("_created")]


def test_what_does_not_add_up_is_told_anew(tmp_path):
    outlets = Outlets(folder=tmp_path, gateway="")
    for version in ("old", "new"):
        registry = CollectorRegistry()
        Gauge("live", "Version.", ["version"], registry=registry).labels(version).set(1)
        outlets.publish("deployment", registry, adds_up=False)
    assert told(tmp_path / "ponder_deployment.prom") == {("live", "new"): 1}


def test_of_processes_that_end_at_once_none_is_lost(tmp_path):
    outlets = Outlets(folder=tmp_path, gateway="")
    with ThreadPoolExecutor(8) as pool:
        for number in range(24):
            registry = night(items=1, outcome="done", when=number)
            pool.submit(outlets.publish, "night", registry, adds_up=True)
    assert told(tmp_path / "ponder_night.prom")[("made_total", "done")] == 24


def test_a_gateway_gets_the_same_numbers_in_a_group_of_the_step(tmp_path):
    bodies = {}

    class Gateway(BaseHTTPRequestHandler):
        def do_PUT(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            bodies[self.path] = body.decode()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *told):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        gateway = f"http://127.0.0.1:{server.server_port}"
        outlets = Outlets(folder=tmp_path, gateway=gateway)
        for _ in range(2):
            outlets.publish("night", night(items=3, outcome="done", when=1), adds_up=True)
        server.shutdown()
    assert list(bodies) == ["/metrics/job/ponder/step/night"]
    assert 'made_total{kind="done"} 6.0' in bodies["/metrics/job/ponder/step/night"]


def test_metrics_that_cannot_be_published_are_a_warning_without_the_password(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    registry = night(items=1, outcome="done", when=1)
    with caplog.at_level(logging.WARNING):
        Outlets(folder=tmp_path / "file", gateway="").publish("night", registry, adds_up=True)
        Outlets(folder=None, gateway="http://ann:secret@127.0.0.1:1").publish(
            "night", registry, adds_up=True
        )
    assert len(caplog.records) == 2
    assert "secret" not in caplog.text


def test_a_damaged_file_is_begun_anew(tmp_path):
    (tmp_path / "ponder_night.prom").write_text('made_total{kind="done" 5\n')
    outlets = Outlets(folder=tmp_path, gateway="")
    outlets.publish("night", night(items=1, outcome="done", when=1), adds_up=True)
    assert told(tmp_path / "ponder_night.prom")[("made_total", "done")] == 1
