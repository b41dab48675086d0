"""Artefacts that several machines share by an object store: fetched before, brought back after.

Where `artifacts` is a folder, all of this does nothing: what is written there is there.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Concatenate, ParamSpec, TypeVar

from catalog.artifact_store import ArtifactStore
from ponder.settings import Settings
from ponder.wiring.stores import revealed

FOLLOW_S = 30.0
"""Seconds for which a copy that is only read is taken for what the store has."""

P = ParamSpec("P")
T = TypeVar("T")
Step = Callable[Concatenate[Settings, P], T]

_followed: dict[tuple[str, str], float] = {}
_lock = threading.Lock()


def artifact_store(settings: Settings) -> ArtifactStore | None:
    """Open the store of the deployment's artefacts; None where they lie in a folder."""
    if "://" not in settings.artifacts:
        return None
    options = revealed(settings.lake_options)
    return ArtifactStore(settings.artifacts, options, settings.artifacts_folder)


@contextmanager
def shared(settings: Settings, *names: str) -> Iterator[None]:
    """Fetch folders of artefacts, and bring back what was changed in them, whatever goes wrong.

    Args:
        settings: the deployment.
        names: of folders below `artifacts`, e.g. `features`.
    """
    store = artifact_store(settings)
    if store is None:
        yield
        return
    for name in names:
        store.pull(name)
    try:
        yield
    finally:
        for name in names:
            store.push(name)


def sharing(*names: str) -> Callable[[Step[P, T]], Step[P, T]]:
    """Return a decorator of steps that read and write these folders of artefacts; see `shared`."""

    def decorated(
        step: Callable[Concatenate[Settings, P], T],
    ) -> Callable[Concatenate[Settings, P], T]:
        @functools.wraps(step)
        def with_artifacts(settings: Settings, /, *args: P.args, **options: P.kwargs) -> T:
            with shared(settings, *names):
                return step(settings, *args, **options)

        return with_artifacts

    return decorated


def follow(settings: Settings, *names: str, max_age_s: float = FOLLOW_S) -> None:
    """Fetch folders of artefacts that are only read, unless that was done just now.

    Args:
        settings: the deployment.
        names: of folders below `artifacts`.
        max_age_s: seconds within which this process does not fetch a folder again.
    """
    store = artifact_store(settings)
    for name in names if store is not None else ():
        place = (str(settings.artifacts_folder), name)
        with _lock:  # of several threads one fetches, and the others wait for it
            if place in _followed and monotonic() - _followed[place] < max_age_s:
                continue
            assert store is not None
            store.pull(name)
            _followed[place] = monotonic()
