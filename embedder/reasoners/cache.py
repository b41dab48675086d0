"""Rationales that are written once: a reasoner before which a store is asked.

What a reasoner wrote depends on the content, on who it is and on how it was asked, and not on the
embedder that reads it, so a changed embedder finds all of it again.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

from embedder.content import Content, Side
from embedder.reasoners.reasoner import NoRationale, Rationale, Reasoner

CHUNK = 64  # contents after which what was written is kept, so that a killed run loses no more


class RationaleStore(Protocol):
    """Remembers the rationales of one reasoner and prompt version."""

    def find(self, keys: Sequence[str]) -> Mapping[str, Rationale]:
        """Return those of the keys that it has."""
        ...

    def keep(self, rationales: Mapping[str, Rationale]) -> None:
        """Remembers more."""
        ...


class MemoryStore:
    """The rationales that were used last, for as long as the process lives; thread-safe."""

    def __init__(self, max_rationales: int = 4_096) -> None:
        self._max_rationales = max_rationales
        self._kept: OrderedDict[str, Rationale] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, keys: Sequence[str]) -> dict[str, Rationale]:
        """Return those of the keys that it has; they count as used now."""
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
            return found

    def keep(self, rationales: Mapping[str, Rationale]) -> None:
        """Remembers more, and forgets what was not used for longest."""
        with self._lock:
            self._kept.update(rationales)
            while len(self._kept) > self._max_rationales:
                self._kept.popitem(last=False)


class CachedReasoner:
    """A reasoner that is asked only for what its stores lack. Failures are not kept."""

    def __init__(
        self, reasoner: Reasoner, *, queries: RationaleStore, items: RationaleStore
    ) -> None:
        """Puts the stores before a reasoner.

        Args:
            reasoner: writes what is missing.
            queries: of this reasoner and prompt version.
            items: the same; may share nothing with `queries`.
        """
        self.name, self.prompt_version = reasoner.name, reasoner.prompt_version
        self._reasoner = reasoner
        self._stores: dict[Side, RationaleStore] = {"query": queries, "item": items}

    def reason(self, contents: Sequence[Content], side: Side) -> list[Rationale | NoRationale]:
        """Return what was written about each content, now or before; equal ones are asked once."""
        store = self._stores[side]
        content_of = {content_key(content): content for content in contents}
        outcomes: dict[str, Rationale | NoRationale] = dict(store.find(list(content_of)))
        missing = [key for key in content_of if key not in outcomes]
        for start in range(0, len(missing), CHUNK):
            keys = missing[start : start + CHUNK]
            written = self._reasoner.reason([content_of[key] for key in keys], side)
            outcomes.update(zip(keys, written, strict=True))
            store.keep(
                {k: w for k, w in zip(keys, written, strict=True) if isinstance(w, Rationale)}
            )
            outages = [w for w in written if isinstance(w, NoRationale) and w.is_outage]
            if outages:
                outcomes |= dict.fromkeys(missing[start + CHUNK :], outages[0])
                break
        return [outcomes[content_key(content)] for content in contents]


def content_key(content: Content) -> str:
    """Return what tells a content from others: its key in the lake, or a digest of all it holds."""
    if content.key:
        return content.key
    digest = hashlib.blake2b(content.text.encode(errors="surrogatepass"), digest_size=16)
    digest.update(b"\0" if content.image is None else b"\1" + content.image)
    for mark, data in ((b"\2", content.gallery), (b"\3", [content.clip]), (b"\4", [content.audio])):
        for each in data:
            if each:
                digest.update(mark + len(each).to_bytes(8) + each)
    return digest.hexdigest()
