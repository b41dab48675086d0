"""The encode engine: any number of contents in, each answered as soon as it is done.

Contents are prepared ahead (images decoded, texts tokenised), gathered into batches of a token
budget, gated, and handed to a decoder. What goes wrong with one content stays with that content.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence

from embedder.content import Answer, Content, Failure
from embedder.engine.batches import TokenBudget, padded_tokens, token_budget_batches
from embedder.engine.gating import Decoder, Gate, Gated, Task
from embedder.engine.memory import is_device_lost, is_out_of_memory, release_memory
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
            batch_tokens: most tokens of a batch, padding included. Where memory runs out the budget
                is halved, and stays so.
            window: contents that are prepared and sorted by length together.
            num_workers: threads that prepare ahead of the model.
        """
        self.budget = TokenBudget(batch_tokens)
        self._gate, self._inputs, self._decoder = gate, inputs, decoder
        self._window, self._num_workers = window, num_workers

    def answers(self, contents: Iterable[Content], task: Task) -> Iterator[tuple[int, Answer]]:
        """Yield the number of each content and its answer, in the order in which they are done.

        Raises:
            Exception: the device or the model failed, and not a content: what had no answer yet
                gets none.
        """
        return self._decoder.decode(self._gated(contents, task), task)

    def _gated(self, contents: Iterable[Content], task: Task) -> Iterator[Gated]:
        windows = prepared_windows(
            enumerate(contents),
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

    def behind_gate(self, prepared: Sequence[Prepared], task: Task) -> Iterator[Gated]:
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

    def _decided(self, batch: Sequence[Prepared], task: Task) -> list[Gated]:
        """Return the batch behind the gate; contents that fail carry their failure."""
        gated = self._bisect(batch, task)
        failures = [one.answer for one in gated if isinstance(one.answer, Failure)]
        if len(failures) == len(batch) >= MIN_TO_BLAME_THE_MODEL:
            raise failures[0].error
        return gated

    def _bisect(self, batch: Sequence[Prepared], task: Task) -> list[Gated]:
        try:
            return self._gate.decide(
                batch,
                policy=task.policy,
                keep_past=self._decoder.needs_past,
                theta=task.theta,
            )
        except Exception as error:
            if is_device_lost(error):
                raise
            failure = Failure(error.with_traceback(None))  # a traceback holds on to tensors
        if is_out_of_memory(failure.error):
            release_memory()
            self._remember(batch)
        if len(batch) == 1:
            row, content, _ = batch[0]
            return [Gated(row, content, failure)]
        middle = len(batch) // 2
        return [*self._bisect(batch[:middle], task), *self._bisect(batch[middle:], task)]

    def _remember(self, batch: Sequence[Prepared]) -> None:
        samples = [sample for _, _, sample in batch]
        if padded_tokens(samples) <= self.budget.tokens:
            self.budget.halve(samples)
            logger.warning("out of memory: batch_tokens=%d from now on", self.budget.tokens)
