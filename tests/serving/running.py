"""An app that answers over a real socket, in a thread of the test's process."""

import threading
import time
from contextlib import contextmanager

import uvicorn


@contextmanager
def running(app):
    """The address that an app answers at, for as long as the block takes."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server has ended before it listened"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
