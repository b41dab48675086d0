"""What the service keeps in memory, kept in step with the lake by a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

logger = logging.getLogger(__name__)

Refresh = Callable[[], object]
"""Takes in what changed; cheap when nothing did."""


@contextmanager
def refreshed(refreshes: Mapping[str, Refresh], *, every_s: float) -> Iterator[None]:
    """Call refreshes by their names, `every_s` seconds apart, for as long as the block runs.

    One that fails is told of once in the log, and is called again: what was known stays in use.
    """
    stop = threading.Event()

    def run() -> None:
        failing: set[str] = set()
        while not stop.is_set():
            for name, refresh in refreshes.items():
                _call(name, refresh, failing)
            stop.wait(every_s)

    thread = threading.Thread(target=run, name="refresh", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


def _call(name: str, refresh: Refresh, failing: set[str]) -> None:
    started = time.perf_counter()
    try:
        changed = refresh()
    except Exception as error:  # the lake may be away; the service answers from what it has
        if name not in failing:
            logger.warning("cannot refresh %s: %s: %s", name, type(error).__name__, error)
        failing.add(name)
        return
    if name in failing:
        logger.warning("%s is refreshed again", name)
        failing.discard(name)
    if changed:
        logger.info("refreshed=%s elapsed_s=%.3f", name, time.perf_counter() - started)
