"""An object store that speaks S3 for tests marked `integration`.

The one at the address in `TEST_S3`, with its keys in `AWS_ACCESS_KEY_ID` and
`AWS_SECRET_ACCESS_KEY`; else moto's server, which keeps its objects in memory:

    python -m venv /tmp/moto-venv && /tmp/moto-venv/bin/pip install 'moto[server]'
    PATH=/tmp/moto-venv/bin:$PATH python -m pytest -m integration
"""

import os
import shutil
import socket
import subprocess
import time
import uuid

import pytest
from pyarrow.fs import S3FileSystem

from catalog.images.object_store import s3_arguments


@pytest.fixture(scope="session")
def store_options():
    """How to reach the store, in deltalake's names."""
    keys = {
        "AWS_ACCESS_KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID", "me"),
        "AWS_SECRET_ACCESS_KEY": os.environ.get("AWS_SECRET_ACCESS_KEY", "secret"),
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    if address := os.environ.get("TEST_S3"):
        yield keys | {"AWS_ENDPOINT_URL": address}
        return
    program = shutil.which("moto_server")
    if program is None:
        pytest.skip("no S3: set TEST_S3, or put moto_server on the path")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with subprocess.Popen(
        [program, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _wait_for(port, process)
        yield keys | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        process.terminate()


@pytest.fixture
def bucket(store_options):
    """The name of a new bucket."""
    name = f"ponder-{uuid.uuid4().hex[:12]}"
    files = S3FileSystem(**s3_arguments(store_options), allow_bucket_creation=True)
    files.create_dir(name)
    return name


def _wait_for(port, process):
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("moto_server does not answer")
