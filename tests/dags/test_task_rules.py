"""What all tasks have in common: where those of the GPU run, and who hears of a failure."""

import asyncio
import http.server
import json
import sys
import threading
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from ponder.settings import Settings
from ponder.steps.alerts import post_alert, tell_late

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="install the 'airflow' extra")


@pytest.fixture
def rules(dag_bag):
    """The module as the DAGs import it."""
    return sys.modules[dag_bag.dags["nightly"].get_task("land").on_failure_callback[0].__module__]


@pytest.fixture
def webhook():
    """An address, and what was posted to it."""
    posted = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", posted
    server.shutdown()
    thread.join()
    server.server_close()


def test_tasks_of_the_embedder_go_to_the_queue_and_pod_of_the_deployment(rules, monkeypatch):
    assert rules.on_gpu() == {"pool": "gpu"}
    monkeypatch.setenv("PONDER_GPU_QUEUE", "gpu")
    monkeypatch.setenv("PONDER_GPU_EXECUTOR_CONFIG", '{"pod_template_file": "/opt/gpu.yaml"}')
    assert rules.on_gpu() == {
        "pool": "gpu",
        "queue": "gpu",
        "executor_config": {"pod_template_file": "/opt/gpu.yaml"},
    }


def test_every_task_that_waits_for_a_gpu_is_placed_by_the_deployment(dag_bag):
    sources = {dag.dag_id: (dag.fileloc, dag) for dag in dag_bag.dags.values()}
    for dag_id, (path, dag) in sources.items():
        with open(path) as file:
            text = file.read()
        assert 'pool="gpu"' not in text, f"{dag_id}: on_gpu() also tells queue and pod"
        assert ("on_gpu()" in text) == any(task.pool == "gpu" for task in dag.tasks), dag_id


def test_a_failure_is_told_to_the_webhook(rules, webhook, monkeypatch):
    address, posted = webhook
    monkeypatch.setenv("PONDER_ALERT_WEBHOOK", address)
    task = SimpleNamespace(dag_id="nightly", task_id="land", run_id="manual")
    rules.tell_failure({"task_instance": task, "exception": ConnectionError("no brokers")})
    expected = "nightly.land failed in run manual: ConnectionError('no brokers')"
    assert posted == [{"text": expected}]


def test_a_late_run_is_told_by_what_airflow_imports(dag_bag, webhook, monkeypatch):
    address, posted = webhook
    monkeypatch.setenv("PONDER_ALERT_WEBHOOK", address)
    [alert] = dag_bag.dags["nightly"].deadline
    assert alert.callback.path == f"{tell_late.__module__}.{tell_late.__name__}"
    asyncio.run(tell_late(**alert.callback.kwargs, context={}))
    assert posted == [{"text": "a run of nightly was queued 6 hours ago and is not done"}]


def test_an_alert_that_cannot_be_posted_is_logged_without_its_address(caplog):
    settings = Settings(alert_webhook="http://127.0.0.1:9/secret")
    assert not post_alert(settings, "late")
    assert "could not be posted: URLError" in caplog.text
    assert "secret" not in caplog.text
    assert not post_alert(Settings(), "late")


def test_a_shard_is_labelled_by_its_range_and_items(dag_bag, rules):
    import jinja2

    for dag_id in ("nightly", "reembed"):
        embed = dag_bag.dags[dag_id].get_task("embed")
        assert embed.partial_kwargs["map_index_template"] == rules.SHARD_LABEL
    task = SimpleNamespace(op_kwargs={"shard": ["mug-1", "mug-9", 7]})
    label = jinja2.Template(rules.SHARD_LABEL).render(task=task)
    assert label == "mug-1 to mug-9, 7 items"
