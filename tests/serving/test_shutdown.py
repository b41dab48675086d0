"""Tests for serving/server.py: no client keeps a service from stopping."""

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

SERVICE = """
import sys
from serving.app import create_app
from serving.draining import Drain
from serving.server import run

class Silent:
    pass

drain = Drain()
app = create_app(Silent(), body_timeout_s=float(sys.argv[1]), drain=drain)
run(
    app,
    host="127.0.0.1",
    port=0,
    grace_s=30,
    drain=drain,
    linger_s=0.3,
    announce=lambda address: print(address, flush=True),
)
"""
HEAD = b"POST /v1/recall HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def started(body_timeout_s):
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(body_timeout_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    address = urlsplit(service.stdout.readline().strip())  # announced once it listens
    assert address.hostname == "127.0.0.1", service.communicate()
    return service, address.port


HALF_SENT = [
    b"",
    HEAD,
    HEAD + b"content-length: 100\r\n\r\n{",
    HEAD + b"transfer-encoding: chunked\r\n\r\n",
]


def test_half_sent_requests_do_not_hold_up_the_end():
    service, port = started(body_timeout_s=60)
    with ExitStack() as stack:
        clients = []
        for sent in HALF_SENT:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(sent)
            clients.append(client)
        time.sleep(0.3)
        asked = time.monotonic()
        service.send_signal(signal.SIGTERM)
        _, said = service.communicate(timeout=30)
        assert time.monotonic() - asked < 15  # much sooner than what is under way may take
        for half_body in clients[2:]:
            assert half_body.recv(4096).startswith(b"HTTP/1.1 503 ")
    assert "Traceback" not in said


def test_a_half_sent_body_is_answered_and_its_connection_closed():
    service, port = started(body_timeout_s=0.5)
    try:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(20)
            client.sendall(HEAD + b"content-length: 100\r\n\r\n{")
            reply = b"".join(iter(lambda: client.recv(4096), b""))  # until it is closed
        head, _, body = reply.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert json.loads(body)["error"]["type"] == "timeout"
    finally:
        service.kill()
        service.communicate()
