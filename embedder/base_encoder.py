"""The encoder front that every kind of model shares: queries and items, as a list or as a stream.

A model adds one method, `_answers`. Free of torch.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

from embedder.content import Answer, Content, Encoding, Failure, Policy, Side


class BaseEncoder(ABC):
    """Encodes contents in any number; the methods of `embedder.content.CatalogueEncoder`."""

    @abstractmethod
    def _answers(
        self,
        contents: Iterable[Content],
        side: Side,
        *,
        policy: Policy | None,
        deadline: float | None,
        max_new_tokens: int | None,
    ) -> Iterator[tuple[int, Answer]]:
        """Yield the number of each content, from 0, with its answer, as soon as it is there.

        Args:
            contents: may be endless: only so many are drawn ahead as the model needs at once.
            side: whose prompt they are read with.
            policy: overrules the configured one; None: the configured one.
            deadline: a moment of `time.monotonic`; what still reasons then is answered directly,
                and its `fallback` says so. None: no deadline.
            max_new_tokens: of a rationale, where that is less than the version's own limit.
        """

    def encode_query(
        self,
        queries: Sequence[Content],
        *,
        policy: Policy | None = None,
        deadline_s: float | None = None,
        max_new_tokens: int | None = None,
    ) -> list[Encoding]:
        """Return the encodings of queries, in order.

        Args:
            queries: text, images or both.
            policy: overrules the configured one for this call.
            deadline_s: so many seconds from now, what still reasons is answered with its direct
                vector, and `fallback` says so. That vector is computed however late it is.
            max_new_tokens: tokens after which a rationale is closed by force, where that is fewer
                than the version's own limit; >= 1.

        Raises:
            Exception: that of the first query that cannot be embedded, such as an `ImageError`.
        """
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        answers = self._answers(
            queries, "query", policy=policy, deadline=deadline, max_new_tokens=max_new_tokens
        )
        return _in_order(answers)

    def encode_items(
        self,
        items: Sequence[Content],
        *,
        policy: Policy | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[Encoding]:
        """Return the encodings of items, in order; `progress` is told as each is done.

        Raises:
            Exception: that of the first item that cannot be embedded, such as an `ImageError`.
            embedder.reasoners.reasoner.ReasonerOutage: as for `stream_items`.
        """
        return _in_order(self.stream_items(items, policy=policy), progress)

    def stream_items(
        self, items: Iterable[Content], *, policy: Policy | None = None
    ) -> Iterator[tuple[int, Answer]]:
        """Yield the number of each item, from 0, with its answer, as soon as it is there.

        Raises:
            embedder.reasoners.reasoner.ReasonerOutage: who writes the rationales answers nobody.
        """
        return self._answers(items, "item", policy=policy, deadline=None, max_new_tokens=None)

    def stream_queries(
        self, queries: Iterable[Content], *, policy: Policy | None = None
    ) -> Iterator[tuple[int, Answer]]:
        """Yield as `stream_items` does, of queries; an outage is no error here, but a fallback."""
        return self._answers(queries, "query", policy=policy, deadline=None, max_new_tokens=None)


def _in_order(
    answers: Iterable[tuple[int, Answer]], progress: Callable[[int], None] = lambda done: None
) -> list[Encoding]:
    """Return the encodings by their number, or raise the first failure; tell `progress` of each."""
    encodings: dict[int, Encoding] = {}
    for number, answer in answers:
        if isinstance(answer, Failure):
            raise answer.error
        encodings[number] = answer
        progress(1)
    return [encodings[number] for number in sorted(encodings)]
