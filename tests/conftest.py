"""One thread for everybody, and an HTTP server that misbehaves on demand."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.recall.milvus_server import milvus_uri

__all__ = ["milvus_uri"]  # once for all rooms, for a machine holds one server

# Sums that two threads share come out in either order, and tests compare weights bit for bit.
os.environ.setdefault("OMP_NUM_THREADS", "1")


class Endpoint(ThreadingHTTPServer):
    """Answers with what `reply(text, number of the request)` gives; remembers what was asked."""

    daemon_threads = True

    def __init__(self, reply):
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.asked, self.headers_seen = reply, [], []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    """Hands each request to its server's `reply`."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.asked.append(body)
            server.headers_seen.append((self.path, dict(self.headers)))
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
            number = len(server.asked)
        text = body["messages"][-1]["content"][-1].get("text")
        status, headers, payload = server.reply(text, number)
        with server.lock:
            server.under_way -= 1
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if isinstance(payload, bytes):
                self.send_header("Content-Length", str(len(payload)))
                payload = [payload]
            self.end_headers()
            for part in payload:
                self.wfile.write(part)
        except OSError:
            pass  # the client has given up

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def no_settings_of_whoever_runs_the_tests(monkeypatch):
    """No variable and no file in the working directory sets anything."""
    for name in [name for name in os.environ if name.startswith("PONDER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PONDER_CONFIG", os.devnull)


@pytest.fixture
def serve():
    servers = []

    def start(reply):
        server = Endpoint(reply)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
