"""A client of the brokers, made within a time.

Making one waits for the brokers. kafka-python 3.0 bounds the wait for a connection and not for its
TLS handshake, so a peer that accepts and says nothing is waited for without end, and a signal is
not noticed meanwhile. Here the client is made in a thread that nobody has to wait for.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Event, Thread
from time import monotonic
from typing import Any

from catalog.kafka.config import KafkaConfig

CONNECT_TIMEOUT_S = 60.0

LOOK_S = 0.1
"""How late a signal may be noticed."""


def connect(
    make: Callable[[], Any],
    config: KafkaConfig,
    *,
    stop: Event | None = None,
    timeout_s: float = CONNECT_TIMEOUT_S,
) -> Any | None:
    """Return a client; None when the stop came first.

    Args:
        make: makes the client.
        config: says in an error which brokers were asked.
        stop: gives up when set.
        timeout_s: seconds of waiting.

    Raises:
        ConnectionError: there is none when the time is up.
        Exception: whatever `make` raised.
    """
    quieten()
    made: Future[Any] = Future()
    Thread(target=_make, args=(make, made), daemon=True, name="kafka-connect").start()
    deadline = monotonic() + timeout_s
    while not made.done():
        if stop is not None and stop.is_set():
            made.add_done_callback(_close)
            return None
        if monotonic() >= deadline:
            made.add_done_callback(_close)
            raise ConnectionError(
                f"the Kafka brokers at {config.bootstrap_servers} must answer within "
                f"{timeout_s:g} s, got a connection and no answer; see that they run, and that "
                "they speak what kafka_security says (TLS or plain text)"
            )
        wait([made], timeout=LOOK_S)
    return made.result()


def quieten() -> None:
    """Keep kafka-python from telling of itself, wherever it is used: on a terminal, by Airflow."""
    root = logging.getLogger("kafka")
    if root.level == logging.NOTSET:  # nobody asked for it
        root.setLevel(logging.WARNING)
    # It measures how long its own tasks take, and blames whoever uses it.
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
    logging.getLogger("kafka.cluster").addFilter(_is_no_closing)


def _is_no_closing(record: logging.LogRecord) -> bool:
    """Return False of its own closing, which it calls an error when a request is under way."""
    return "Cancelled" not in record.getMessage()


def _make(make: Callable[[], Any], made: "Future[Any]") -> None:
    try:
        made.set_result(make())
    except BaseException as error:  # for whoever waits
        made.set_exception(error)


def _close(made: "Future[Any]") -> None:
    """Close a client that came too late for anybody to use it."""
    if made.exception() is None:
        made.result().close()
