"""The encode engine: any number of contents in, each answered as soon as it is done.

Contents are prepared ahead (images decoded, texts tokenised), gathered into batches of a token
budget, gated, and handed to a decoder. What goes wrong with one content stays with that content.

Memory may run out wherever others have taken it. Then what is under way is ended first and the
batch tried again, then in halves; and a content that had too little all the same is tried alone,
when nothing else is held. So whatever fits into memory by itself is answered.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from embedder.content import Answer, Content, Failure
from embedder.engine.batches import padded_tokens, token_budget_batches
from embedder.engine.gating import Decoder, Gate, Gated, NoRoom, Task
from embedder.engine.memory import (
    ShrinkingLimit,
    is_device_lost,
    is_out_of_memory,
    release_memory,
)
from embedder.engine.prefetch import prepared_windows
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample

logger = logging.getLogger(__name__)

MIN_TO_BLAME_THE_MODEL = 8  # so many contents of one batch do not all fail by their own fault

Prepared = tuple[int, Content, Sample]


class Engine:
    """Encodes streams of contents with one model version."""

    def __init__(
        self,
        gate: Gate,
        inputs: Inputs,
        decoder: Decoder,
        *,
        batch_tokens: int,
        window: int,
        num_workers: int,
    ) -> None:
        """An engine; it may serve many calls, one after the other.

        Args:
            gate: prefills and decides.
            inputs: prepares contents.
            decoder: answers for the contents that the gate sends to reason.
            batch_tokens: most tokens of a batch, padding included; fewer where memory runs out, for
                as long as it does.
            window: contents that are prepared and sorted by length together.
            num_workers: threads that prepare ahead of the model.
        """
        self.budget = ShrinkingLimit(batch_tokens)
        self._gate, self._inputs, self._decoder = gate, inputs, decoder
        self._window, self._num_workers = window, num_workers

    def answers(self, contents: Iterable[Content], task: Task) -> Iterator[tuple[int, Answer]]:
        """Yield the number of each content and its answer, in the order in which they are done.

        Raises:
            Exception: the device or the model failed, and not a content: what had no answer yet
                gets none.
        """
        under_way: dict[int, Content] = {}
        short: list[tuple[int, Content]] = []
        numbered = _noted(enumerate(contents), under_way)
        for row, answer in self._decoder.decode(self._gated(numbered, task), task):
            content = under_way.pop(row)
            if isinstance(answer, Failure) and is_out_of_memory(answer.error):
                short.append((row, content))
            else:
                yield row, answer
        for one in sorted(short, key=lambda numbered: numbered[0]):
            release_memory()
            yield from self._decoder.decode(self._gated([one], task), task)

    def _gated(
        self, contents: Iterable[tuple[int, Content]], task: Task
    ) -> Iterator[Gated | NoRoom]:
        windows = prepared_windows(
            contents,
            lambda numbered: self._prepare(numbered, task.instruction),
            window=self._window,
            num_workers=self._num_workers,
        )
        for window in windows:
            ready: list[Prepared] = []
            for prepared in window:
                if isinstance(prepared, Gated):
                    yield prepared
                else:
                    ready.append(prepared)
            yield from self.behind_gate(ready, task)

    def behind_gate(self, prepared: Sequence[Prepared], task: Task) -> Iterator[Gated | NoRoom]:
        """Prefill contents in batches of the token budget, and decide who reasons.

        Args:
            prepared: each with its number and its prompt.
            task: what is asked of all of them.
        """
        samples = [sample for _, _, sample in prepared]
        for rows in token_budget_batches(samples, self.budget):
            yield from self._decided([prepared[row] for row in rows], task)

    def _prepare(self, numbered: tuple[int, Content], instruction: str) -> Prepared | Gated:
        row, content = numbered
        try:
            return row, content, self._inputs.sample(content, instruction)
        except Exception as error:  # parsers of hostile bytes raise whatever they stumble over
            return Gated(row, content, Failure(error))

    def _decided(self, batch: Sequence[Prepared], task: Task) -> Iterator[Gated | NoRoom]:
        """Yield the batch behind the gate; contents that fail come last and carry their failure."""
        failed: list[Gated] = []
        for one in self._bisected(batch, task):
            if isinstance(one, Gated) and isinstance(one.answer, Failure):
                failed.append(one)
            else:
                yield one
        errors = [one.answer.error for one in failed if isinstance(one.answer, Failure)]
        faults = [error for error in errors if not is_out_of_memory(error)]
        if len(errors) == len(batch) >= MIN_TO_BLAME_THE_MODEL and faults:
            raise faults[0]
        yield from failed

    def _bisected(
        self, batch: Sequence[Prepared], task: Task, *, is_second_try: bool = False
    ) -> Iterator[Gated | NoRoom]:
        try:
            gated = deque(self._decide(batch, task))
        except Exception as error:
            if is_device_lost(error):
                raise
            failure = Failure(error)
        else:
            self._count(batch)
            while gated:  # whoever has been handed on is no longer held here
                yield gated.popleft()
            return
        if is_out_of_memory(failure.error):
            release_memory()
            if not is_second_try:
                yield NoRoom()
                yield from self._bisected(batch, task, is_second_try=True)
                return
            self._remember(batch)
        if len(batch) == 1:
            row, content, _ = batch[0]
            yield Gated(row, content, failure)
            return
        middle = len(batch) // 2
        yield from self._bisected(batch[:middle], task)
        yield from self._bisected(batch[middle:], task)

    def _decide(self, batch: Sequence[Prepared], task: Task) -> list[Gated]:
        return self._gate.decide(
            batch, policy=task.policy, keep_past=self._decoder.needs_past, theta=task.theta
        )

    def _count(self, batch: Sequence[Prepared]) -> None:
        if 2 * padded_tokens([sample for _, _, sample in batch]) > self.budget.value:
            self.budget.held()

    def _remember(self, batch: Sequence[Prepared]) -> None:
        tokens = padded_tokens([sample for _, _, sample in batch])
        if tokens <= self.budget.value:
            self.budget.lower(tokens // 2)
            logger.warning("out of memory: batch_tokens=%d for now", self.budget.value)


def _noted(
    numbered: Iterable[tuple[int, Content]], under_way: dict[int, Content]
) -> Iterator[tuple[int, Content]]:
    """Hand contents on, and note them as under way."""
    for row, content in numbered:
        under_way[row] = content
        yield row, content
