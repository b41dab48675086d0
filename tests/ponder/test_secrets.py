"""Whatever does not answer is told of without its keys: in errors, and in logs at their most."""

import logging
import traceback

import pytest

from catalog.lake.tables import ITEMS
from ponder.settings import Settings
from ponder.steps.alerts import post_alert
from ponder.steps.land import land_kafka
from ponder.telemetry import tracing
from ponder.telemetry.observation import observe
from ponder.wiring.artifacts import artifact_store
from ponder.wiring.stores import open_index, open_lake

SECRET = "hunter2"
NOBODY = "127.0.0.1:9"
STORE = {
    "AWS_ACCESS_KEY_ID": "me",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_ENDPOINT_URL": f"http://{NOBODY}",
    "AWS_ALLOW_HTTP": "true",
    "AWS_REGION": "here",
    "max_retries": "0",
}
SASL = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_plain_username": "me",
    "sasl_plain_password": SECRET,
    "bootstrap_timeout_ms": 100,
}
WITH_PASSWORD = f"http://me:{SECRET}@{NOBODY}"


def observed(settings):
    with observe(settings, "land"):
        pass


def traced(settings):
    pytest.importorskip("opentelemetry.sdk", reason="install the 'tracing' extra")
    tracing.trace_to(settings.trace_endpoint)
    try:
        with tracing.span("land"):
            pass
        tracing.send_spans()
    finally:
        tracing.trace_to("")


@pytest.mark.parametrize(
    ("given", "asks"),
    [
        ({"kafka": NOBODY, "kafka_security": SASL}, land_kafka),
        ({"lake": "s3://b/lake", "lake_options": STORE}, lambda s: open_lake(s).read(ITEMS)),
        ({"artifacts": "s3://b/a", "lake_options": STORE}, lambda s: artifact_store(s).pull("x")),
        ({"milvus": WITH_PASSWORD, "milvus_token": f"me:{SECRET}"}, open_index),
        ({"alert_webhook": WITH_PASSWORD}, lambda s: post_alert(s, "late")),
        ({"metrics_gateway": WITH_PASSWORD}, observed),
        ({"trace_endpoint": WITH_PASSWORD}, traced),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_whoever_is_not_there_is_told_of_without_a_secret(given, asks, tmp_path, caplog):
    told = ""
    with caplog.at_level(logging.DEBUG):
        try:
            asks(Settings(home=tmp_path, **given))
        except Exception as error:
            told = "".join(traceback.format_exception(error))
    assert told or caplog.text
    assert SECRET not in told + caplog.text
