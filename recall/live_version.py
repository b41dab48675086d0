"""The model version that answers: looked up or followed, and probed by a search of its own."""

import math
import time

import numpy as np

from embedder.content import Content
from recall.errors import Busy, InvalidQuery, NotFound, Unavailable
from recall.query_encoder import QueryEncoder
from recall.vector_search import VectorSearch

PROBE = "a"
PROBE_TIMEOUT_S = 1.0


class LiveVersion:
    """The version of an index that is live, and whose encoder is loaded once it is followed."""

    def __init__(self, index: VectorSearch, encoder: QueryEncoder) -> None:
        """Follow nothing yet: every query asks the index.

        Args:
            index: says which version is live.
            encoder: of the queries, by version.
        """
        self._index, self._encoder = index, encoder
        self.followed: str | None = None
        self._followed_at = -math.inf
        self._probed: tuple[str, np.ndarray] | None = None

    def get(self) -> str:
        """Return the model version that answers.

        Raises:
            Unavailable: none has been promoted yet.
        """
        version = self.followed
        if version is None:
            with self._index.request():
                version = self._index.live_version()
        if version is None:
            raise Unavailable("no model version is live; promote one first")
        return version

    def or_asked(self, version: str | None) -> str:
        """Return a version that was asked for; for None the live one.

        Raises:
            NotFound: the index does not hold the version.
            Unavailable: none has been promoted yet.
        """
        if version is None:
            return self.get()
        if version == self.followed:
            return version
        if version not in (versions := self._index.versions()):
            raise NotFound(f"version {version!r} is not in the index, which holds {versions}")
        return version

    def follow(self) -> bool:
        """Answer from the version that is live now, once its encoder is loaded.

        Called again and again it makes a service follow promotions and rollbacks. Without it every
        query asks the index. A version whose encoder cannot be had takes over only from one that is
        no longer there. Returns whether another version answers from now on.

        Raises:
            Unavailable: that encoder cannot be had.
        """
        with self._index.request():
            live = self._index.live_version()
        if live is None:
            return False
        try:
            self._encoder.load(live)
        except Unavailable:
            if self.followed is not None and self.followed in self._index.versions():
                raise
        has_changed, self.followed = live != self.followed, live
        self._followed_at = time.monotonic()
        return has_changed

    @property
    def is_loaded(self) -> bool:
        """Whether queries can be read at once: it is followed, and its encoder is there."""
        return self.followed is not None and self._encoder.is_loaded(self.followed)

    def age_s(self) -> float:
        """Return the seconds since `follow` last succeeded; infinite when it never did."""
        return time.monotonic() - self._followed_at

    def probe(self) -> tuple[str, int]:
        """Make a search for no matter what; return the version that answers and its items.

        Raises:
            Unavailable: none has been promoted yet.
        """
        with self._index.request():
            version = self.get()
            num_items = self._index.count(version)
            if num_items and (vector_D := self._probe_vector(version)) is not None:
                self._index.search(vector_D[None], version, limit=1)
            return version, num_items

    def _probe_vector(self, version: str) -> np.ndarray | None:
        """Return the vector of a word, encoded once for a version; None when there is none now."""
        if self._probed is None or self._probed[0] != version:
            try:
                answer = self._encoder.submit(Content(PROBE), version, policy="never")
                self._probed = version, answer.result(PROBE_TIMEOUT_S).encoding.vector
            except (Busy, InvalidQuery, TimeoutError, Unavailable):
                return None  # items and users can still be answered
        return self._probed[1]
