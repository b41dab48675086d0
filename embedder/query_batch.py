"""Queries of many clients on one model: they join while others are under way, and leave when done.

A model that decodes by itself has a batch of its own (`embedder.engine.continuous_queries`); any
other encoder is asked for groups of queries that want the same. Free of torch.
"""

import time
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from embedder.content import Answer, Content, Encoder, Failure, Policy

MAX_GROUP = 32
DEADLINE_STEP_S = 0.1
"""Queries whose deadlines are no further apart share a group, and the earliest of them holds."""


class QueryBatch(Protocol):
    """Queries under way; one thread adds and advances, any may prepare."""

    @property
    def num_under_way(self) -> int:
        """Queries that were added and have no answer yet."""
        ...

    def prepare(self, content: Content, *, policy: Policy | None) -> Any:
        """Return what `add` takes: images decoded, texts tokenised; safe to call from any thread.

        Raises:
            ValueError: the content cannot be read, or the version cannot follow the policy.
        """
        ...

    def add(
        self,
        number: int,
        prepared: Any,
        *,
        policy: Policy | None,
        deadline: float | None,
        max_new_tokens: int | None,
    ) -> None:
        """Let a query join.

        Args:
            number: what the caller knows it by.
            prepared: by `prepare`, for the same policy.
            policy: overrules the version's own.
            deadline: a moment of `time.monotonic`; what still reasons then is answered directly.
            max_new_tokens: of a rationale, where that is less than the version's own limit.
        """
        ...

    def advance(self) -> list[tuple[int, Answer]]:
        """Do a small piece of work, and return the numbers and answers of what that has finished.

        Raises:
            Exception: the model failed, and not a query: nobody under way gets an answer.
        """
        ...


@runtime_checkable
class BatchingEncoder(Protocol):
    """An encoder that may have a batch of its own."""

    def query_batch(self) -> QueryBatch | None:
        """Open an empty batch; None where the model cannot take in queries while it decodes."""
        ...


def query_batch(encoder: Encoder) -> QueryBatch:
    """Open an empty batch of an encoder's queries."""
    own = encoder.query_batch() if isinstance(encoder, BatchingEncoder) else None
    return own or GroupedQueries(encoder)


@dataclass(frozen=True, slots=True)
class _Waiting:
    number: int
    content: Content
    policy: Policy | None
    deadline: float | None
    max_new_tokens: int | None

    @property
    def wants(self) -> tuple[object, ...]:
        """What it shares with the queries that it may be encoded with."""
        step = None if self.deadline is None else int(self.deadline / DEADLINE_STEP_S)
        return self.policy, self.max_new_tokens, None if self.policy == "never" else step


class GroupedQueries:
    """A batch over `encode_query`: one group after another, those that never reason first.

    A group that reasons holds up the others until it is done.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._waiting: list[_Waiting] = []

    @property
    def num_under_way(self) -> int:
        """Queries that wait for their group."""
        return len(self._waiting)

    def prepare(self, content: Content, *, policy: Policy | None) -> Any:
        """Return the content itself: `encode_query` prepares it."""
        return content

    def add(
        self,
        number: int,
        prepared: Any,
        *,
        policy: Policy | None,
        deadline: float | None,
        max_new_tokens: int | None,
    ) -> None:
        """Let a query wait for its group; see `QueryBatch`."""
        self._waiting.append(_Waiting(number, prepared, policy, deadline, max_new_tokens))

    def advance(self) -> list[tuple[int, Answer]]:
        """Encode one group; a query that cannot be encoded fails alone."""
        if not self._waiting:
            return []
        first = min(self._waiting, key=lambda one: one.policy != "never")
        group = [one for one in self._waiting if one.wants == first.wants][:MAX_GROUP]
        taken = {one.number for one in group}
        self._waiting = [one for one in self._waiting if one.number not in taken]
        try:
            return self._encoded(group)
        except Exception as error:
            if len(group) == 1:
                return [(first.number, Failure(error))]
            return [answer for one in group for answer in self._alone(one)]

    def _alone(self, one: _Waiting) -> list[tuple[int, Answer]]:
        try:
            return self._encoded([one])
        except Exception as error:  # of whatever kind: it is told to the one who asked
            return [(one.number, Failure(error))]

    def _encoded(self, group: list[_Waiting]) -> list[tuple[int, Answer]]:
        deadlines = [one.deadline for one in group if one.deadline is not None]
        encodings = self._encoder.encode_query(
            [one.content for one in group],
            policy=group[0].policy,
            deadline_s=max(0.0, min(deadlines) - time.monotonic()) if deadlines else None,
            max_new_tokens=group[0].max_new_tokens,
        )
        return [(one.number, encoding) for one, encoding in zip(group, encodings, strict=True)]
