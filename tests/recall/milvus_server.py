"""A real Milvus server for tests marked `integration`.

The one at the address in `TEST_MILVUS`; else one that is started here in a temporary folder, with
the package `milvus` (2.3.5, the last on PyPI) of this Python or of the one that
`TEST_MILVUS_PYTHON` names:

    python -m venv /tmp/milvus-venv && /tmp/milvus-venv/bin/pip install milvus==2.3.5
    TEST_MILVUS_PYTHON=/tmp/milvus-venv/bin/python python -m pytest -m integration

It listens on ports of its own besides (etcd's 2379 among them), so one runs on a machine at a time,
and takes ten seconds to start.
"""

import os
import subprocess
import sys

import pytest

PORT = 19_540
SERVER = """
import sys, time
try:
    from milvus import MilvusServer
except ImportError:
    sys.exit("the package milvus==2.3.5 is not installed; see tests/recall/milvus_server.py")
server = MilvusServer(wait_for_started=True)
server.set_base_dir(sys.argv[1])
server.listen_port = int(sys.argv[2])
server.start()
print("listening", server.listen_port, flush=True)  # another one than asked for, if that is in use
sys.stdin.read()  # until whoever started it is gone
server.stop()
"""


@pytest.fixture(scope="session")
def milvus_uri(tmp_path_factory):
    """The address of a server; skips where there is none, and fails where one was named."""
    if uri := os.environ.get("TEST_MILVUS"):
        yield uri
        return
    python = os.environ.get("TEST_MILVUS_PYTHON", sys.executable)
    folder = tmp_path_factory.mktemp("milvus_server")
    with subprocess.Popen(
        [python, "-c", SERVER, str(folder), str(PORT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        port = _port_once_listening(process)
        if port is None:
            reason = f"no Milvus server: {process.stderr.read().strip()[-500:]}"
            (pytest.fail if "TEST_MILVUS_PYTHON" in os.environ else pytest.skip)(reason)
        yield f"http://127.0.0.1:{port}"
        process.stdin.close()
        process.wait(timeout=60)


def _port_once_listening(process):
    """The port of the server once it is up; None when its output ended before."""
    told = (line.split() for line in iter(process.stdout.readline, ""))
    return next((int(words[1]) for words in told if words[:1] == ["listening"]), None)
