"""Tests for catalog/kafka/connection.py: peers that accept and say nothing."""

import logging
import socket
import subprocess
import sys
import threading

import pytest

from catalog.kafka.config import KafkaConfig
from catalog.kafka.connection import connect

CONFIG = KafkaConfig(bootstrap_servers="broker:9092")

# A process of its own: a client that waits for a peer without end would outlive the test.
CHILD = """
import sys
from kafka import KafkaConsumer
from catalog.kafka.config import KafkaConfig
from catalog.kafka.connection import connect

config = KafkaConfig(bootstrap_servers=sys.argv[1], security={"security_protocol": "SSL"})
connect(lambda: KafkaConsumer(**config.client_options()), config, timeout_s=0.3)
"""


def test_a_tls_peer_that_never_answers_is_given_up_and_the_process_ends():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        child = subprocess.run(
            [sys.executable, "-c", CHILD, address], capture_output=True, text=True, timeout=120
        )
    assert child.returncode == 1
    assert f"ConnectionError: the Kafka brokers at {address} must answer within" in child.stderr


class Late:
    """A client that comes when it is let; whether it was closed."""

    def __init__(self):
        self.may_come, self.is_closed = threading.Event(), threading.Event()

    def __call__(self):
        self.may_come.wait(30)
        return self

    def close(self):
        self.is_closed.set()


def test_a_signal_ends_the_waiting():
    stop, late = threading.Event(), Late()
    stop.set()
    assert connect(late, CONFIG, stop=stop) is None
    late.may_come.set()
    assert late.is_closed.wait(30)


def test_a_client_that_comes_too_late_is_closed():
    late = Late()
    with pytest.raises(ConnectionError):
        connect(late, CONFIG, timeout_s=0.0)
    late.may_come.set()
    assert late.is_closed.wait(30)


def test_what_the_making_raises_is_raised():
    def refuse():
        raise ValueError("no such mechanism")

    with pytest.raises(ValueError, match="no such mechanism"):
        connect(refuse, CONFIG)


def test_the_client_says_nothing_of_itself_wherever_it_is_used(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("kafka"), "level", logging.NOTSET)
    with caplog.at_level(logging.INFO):  # Airflow's root logger
        connect(Late().may_come.is_set, CONFIG)
        logging.getLogger("kafka.net.manager").info("Attempting bootstrap")
        logging.getLogger("kafka.net.selector").warning("task took long")
        logging.getLogger("kafka.cluster").error("Request Cancelled")
        logging.getLogger("kafka.cluster").error("Unknown topic")
    assert [record.getMessage() for record in caplog.records] == ["Unknown topic"]
