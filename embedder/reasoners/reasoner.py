"""What writes rationales for an embedder that only reads them.

Think-Then-Embed (arXiv 2510.05014) splits the two: a reasoner writes what an input means, and the
embedder reads the input together with that. The reasoner may be the embedder itself
(`embedder.engine.gating`), another local model, or an endpoint; this file is free of torch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from embedder.content import Content, Side


@dataclass(frozen=True, slots=True)
class Rationale:
    """What a reasoner wrote about one content; untrusted, wherever it came from.

    It may spell an embedder's control tokens: they are neutralised by
    `embedder.reasoners.given_rationales`, which knows which ones its embedder has.
    """

    text: str
    summary: str = ""
    """The outcome in one line; empty when the reasoner gave none."""

    num_tokens: int = 0
    """Tokens that the reasoner generated; 0 when it does not say."""


@dataclass(frozen=True, slots=True)
class NoRationale:
    """Why a content has no rationale."""

    reason: str

    is_outage: bool = False
    """The reasoner answers nobody (unreachable, overloaded, refuses the key): ask again later. A
    failure that is no outage is this content's own, and asking again gives it again."""


class ReasonerOutage(RuntimeError):
    """No rationales can be had now; nothing was lost, and the same call may be made again later."""


class Reasoner(Protocol):
    """Writes rationales. It sees one content at a time, never what it is to be matched with."""

    @property
    def name(self) -> str:
        """Who writes: part of a rationale's key, so equal names must give equal rationales."""
        ...

    @property
    def prompt_version(self) -> str:
        """Changes whenever the same reasoner is asked in other words or cut at another length."""
        ...

    def reason(self, contents: Sequence[Content], side: Side) -> list[Rationale | NoRationale]:
        """Return what was written about each content, in order; one that fails stops no other."""
        ...


def reasoned_version(version: str, *, reasoner: str, prompt_version: str) -> str:
    """Return the identity of an embedder that reads another's rationales: `nano-5d0c1f7a93be`.

    Args:
        version: identity of the embedder by itself.
        reasoner: name of the reasoner.
        prompt_version: of the reasoner.
    """
    digest = hashlib.blake2b(digest_size=6)
    digest.update("\0".join((version, reasoner, prompt_version)).encode())
    return f"{version.rpartition('-')[0]}-{digest.hexdigest()}"
