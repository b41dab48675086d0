"""Spans of a run's processes and of the service, as a collector gets them."""

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ponder.settings import Settings
from ponder.telemetry import tracing
from ponder.telemetry.observation import observed
from ponder.telemetry.tracing import TracedRequests, run_trace_id, span, trace_to

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")


@pytest.fixture
def collector():
    """An OTLP collector's address, and the spans that it got."""
    spans = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            import gzip

            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            request = trace_service.ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *told):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()
    trace_to("")


@observed("make")
def make(settings):
    with span("shard", shard="a..c"):
        pass


def attributes(told):
    return {each.key: each.value.string_value for each in told.attributes}


def test_the_steps_of_a_run_are_one_trace_and_their_parts_are_below_them(
    collector, tmp_path, monkeypatch
):
    endpoint, spans = collector
    settings = Settings(home=tmp_path, trace_endpoint=endpoint)
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "nightly")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__1")
    make(settings)  # as two tasks, which are two processes with the same run
    make(settings)
    shard, step, other_shard, other_step = spans
    assert {each.trace_id for each in spans} == {
        run_trace_id({"dag": "nightly", "run": "scheduled__1"}).to_bytes(16)
    }
    assert (shard.name, step.name) == ("shard", "make")
    assert (shard.parent_span_id, other_shard.parent_span_id) == (step.span_id, other_step.span_id)
    assert attributes(shard)["ponder.shard"] == "a..c"
    assert attributes(step)["ponder.run"] == "scheduled__1"


def test_a_span_of_airflow_s_own_is_the_parent(collector, tmp_path):
    from opentelemetry.sdk.trace import TracerProvider

    endpoint, spans = collector
    with TracerProvider().get_tracer("airflow").start_as_current_span("worker.embed") as task:
        make(Settings(home=tmp_path, trace_endpoint=endpoint))
    step = next(each for each in spans if each.name == "make")
    assert step.parent_span_id == task.get_span_context().span_id.to_bytes(8)
    assert step.trace_id == task.get_span_context().trace_id.to_bytes(16)


def test_who_starts_the_process_may_name_its_parent(collector, tmp_path, monkeypatch):
    endpoint, spans = collector
    monkeypatch.setenv("TRACEPARENT", f"00-{'ab' * 16}-{'cd' * 8}-01")
    make(Settings(home=tmp_path, trace_endpoint=endpoint))
    step = next(each for each in spans if each.name == "make")
    assert (step.trace_id.hex(), step.parent_span_id.hex()) == ("ab" * 16, "cd" * 8)


def test_a_request_is_a_span_by_its_route_below_its_caller_s(collector):
    endpoint, spans = collector
    trace_to(endpoint)
    app = Starlette(
        routes=[Route("/v1/items/{item_id}", lambda request: PlainTextResponse("mug"))],
        middleware=[Middleware(TracedRequests)],
    )
    parent = f"00-{'12' * 16}-{'34' * 8}-01"
    client = TestClient(app)
    client.get("/v1/items/m1", headers={"traceparent": parent})
    client.get("/v1/items/m2")
    tracing._provider(endpoint, of_runs=False).force_flush()
    first, second = spans
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == ("12" * 16, "34" * 8)
    assert first.name.startswith("GET")
    assert "m1" not in first.name
    assert second.trace_id not in (first.trace_id, run_trace_id({"run": "x"}).to_bytes(16))
    status = next(e.value for e in first.attributes if e.key == "http.response.status_code")
    assert status.int_value == 200


def test_a_collector_that_is_away_holds_up_no_step(tmp_path):
    started = time.monotonic()
    make(Settings(home=tmp_path, trace_endpoint="http://127.0.0.1:1"))
    trace_to("")
    assert time.monotonic() - started < 4 * tracing.EXPORT_TIMEOUT_S  # a bound, not a speed


def test_nothing_of_opentelemetry_is_imported_while_nothing_is_traced():
    program = (
        "import sys, ponder.steps.embed, ponder.telemetry.observation as o\n"
        "from ponder.settings import Settings\n"
        "o.observed('x')(lambda settings: None)(Settings())\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
