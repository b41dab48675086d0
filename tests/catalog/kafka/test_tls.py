"""Brokers behind TLS: the security settings reach every client."""

import json
import socket
import ssl

import pytest

from catalog.ingest.source import open_source
from catalog.kafka.backfill import Window, backfill
from catalog.kafka.config import KafkaConfig
from catalog.kafka.consumer import consume
from catalog.kafka.publish import publish
from catalog.lake.tables import ITEMS


def test_a_folder_is_published_landed_and_landed_again_over_tls(
    lake, tls_broker, certificate, tmp_path
):
    (tmp_path / "data").mkdir()
    fields = {"item_id": "a", "updated_at": "2026-01-01T00:00:00Z"}
    (tmp_path / "data" / "items.jsonl").write_text(json.dumps(fields))
    trusting = KafkaConfig(
        bootstrap_servers=tls_broker,
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
        security={"security_protocol": "SSL", "ssl_cafile": str(certificate)},
    )
    assert publish(open_source(tmp_path / "data"), trusting).items == 1
    consume(trusting, lake, timeout_s=60.0)
    assert lake.read(ITEMS)["item_id"].to_list() == ["a"]
    assert backfill(trusting, lake, Window(start=0)).items.unchanged == 1


def test_the_broker_of_these_tests_is_trusted_only_by_who_knows_its_certificate(tls_broker):
    host, port = tls_broker.split(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(connection, server_hostname=host)
