"""A Milvus Lite folder, which one process at a time may hold, and how it is shared in turns.

pymilvus starts a server inside the process for a path that ends in `.db`, and leaves it running
when the client is closed: the process would hold the folder until it ends, and a command that was
long done would keep all others out. Here the folder goes back with the last client of the process.
"""

import fcntl
import logging
import os
import threading
import time
from collections import Counter
from pathlib import Path

from recall.errors import Unavailable

logger = logging.getLogger(__name__)

POLL_S = 0.05

_HOLDERS: Counter[str] = Counter()  # clients of this process, by path
_CHANGING = threading.Lock()


def hold(path: str, *, wait_s: float) -> bool:
    """Hold the folder for one more client of this process; return whether it can be had.

    Another process keeps it for as long as one command writes, so it is waited for. One that was
    killed keeps nothing.

    Args:
        path: of the folder, which may not exist yet.
        wait_s: give up after so long.

    Raises:
        Unavailable: nobody holds it, and Milvus Lite does not open it; the log says why.
    """
    from milvus_lite.server_manager import server_manager_instance

    path, ends_at, is_told = os.path.abspath(path), time.monotonic() + wait_s, False
    while True:
        with _CHANGING:
            if _HOLDERS[path] or _is_free(path):
                if server_manager_instance.start_and_get_uri(path) is not None:
                    _HOLDERS[path] += 1
                    return True
                if _is_free(path):  # else another process was faster
                    raise Unavailable(f"{path!r} must be a folder of Milvus Lite; see the log")
        if time.monotonic() >= ends_at:
            return False
        if not is_told:
            logger.warning("another process holds %s; waiting for at most %g s", path, wait_s)
            is_told = True
        time.sleep(POLL_S)


def give_back(path: str) -> None:
    """Let go of the folder for one client; the last one's stops the server in this process."""
    from milvus_lite.server_manager import server_manager_instance

    path = os.path.abspath(path)
    with _CHANGING:
        _HOLDERS[path] -= 1
        if _HOLDERS[path] <= 0:
            del _HOLDERS[path]
            server_manager_instance.release_server(path)


def _is_free(path: str) -> bool:
    """Whether no process holds the folder; asked first, for pymilvus logs a traceback."""
    from milvus_lite.db import LOCK_FILENAME

    try:
        lock = os.open(Path(path) / LOCK_FILENAME, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
