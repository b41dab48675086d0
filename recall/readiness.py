"""When a Milvus server searches what was written by the index and no longer by a makeshift.

A server answers from new rows at once, but until their segment is sealed, indexed and loaded it
searches them by a rough clustering: of 20,000 rows of 256 dims Milvus 2.3.5 found 57 % of the best
hundred for 14 seconds, and 98 % afterwards.
"""

import logging
import time

from recall.client import TimedClient

logger = logging.getLogger(__name__)

MIN_INDEXED_ROWS = 1_024  # a smaller segment is never indexed, and is searched exactly
POLL_S = 0.5


def wait_until_indexed(client: TimedClient, name: str, *, timeout_s: float) -> bool:
    """Wait until all flushed rows of a collection are searched by its index; return whether.

    It goes on building when the time is up, which the log then says.
    """
    ends_at = time.monotonic() + timeout_s
    while not _is_indexed(client, name):
        if time.monotonic() >= ends_at:
            logger.warning("collection=%s is still not indexed timeout_s=%g", name, timeout_s)
            return False
        time.sleep(POLL_S)
    return True


def _is_indexed(client: TimedClient, name: str) -> bool:
    index = client.describe_index(name, "vector")
    flushed, pending = int(index["total_rows"]), int(index["pending_index_rows"])
    segments = client.list_loaded_segments(name)
    return (
        (pending == 0 or flushed < MIN_INDEXED_ROWS)
        and sum(segment.num_rows for segment in segments) >= flushed
        and all(segment.index_name or segment.num_rows < MIN_INDEXED_ROWS for segment in segments)
    )
