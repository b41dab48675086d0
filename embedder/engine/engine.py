"""The encode engine: any number of contents in, each answered as soon as it is done.

Contents are prepared ahead (images decoded, texts tokenised), gathered into batches of a token
budget, gated, and handed to a decoder. What goes wrong with one content stays with that content.

On a GPU a batch is read when the next one has been launched, so that it never waits for the host.

Memory may run out wherever others have taken it. Then what is under way is ended first and the
batch tried again, then in halves; and a content that had too little all the same is tried alone,
when nothing else is held. So whatever fits into memory by itself is answered.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from embedder.content import Answer, Content, Failure
from embedder.engine.batches import padded_tokens, token_budget_batches
from embedder.engine.gating import Decoder, Gate, Gated, NoRoom, Prefilled, Task
from embedder.engine.memory import (
    ShrinkingLimit,
    is_device_lost,
    is_out_of_memory,
    release_memory,
)
from embedder.engine.prefetch import Prefetch, prepared_windows
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample

logger = logging.getLogger(__name__)

MIN_TO_BLAME_THE_MODEL = 8  # so many contents of one batch do not all fail by their own fault

T = TypeVar("T")

Prepared = tuple[int, Content, Sample]

Launched = Prefilled | Failure
"""A batch that the device is at, or why it is not."""


class Engine:
    """Encodes streams of contents with one model version."""

    def __init__(
        self,
        gate: Gate,
        inputs: Inputs,
        decoder: Decoder,
        *,
        batch_tokens: int,
        prefetch: Prefetch,
        num_unread: int = 0,
    ) -> None:
        """An engine; it may serve many calls, one after the other.

        Args:
            gate: prefills and decides.
            inputs: prepares contents.
            decoder: answers for the contents that the gate sends to reason.
            batch_tokens: most tokens of a batch, padding included; fewer where memory runs out, for
                as long as it does.
            prefetch: how many contents are prepared and sorted by length together, and by whom;
                slow ones are those with a clip or a sound, which a process decodes.
            num_unread: batches that are launched before the first of them is read: 0 where the host
                computes them itself, else 1.
        """
        self.budget = ShrinkingLimit(batch_tokens)
        self._gate, self._inputs, self._decoder = gate, inputs, decoder
        self._prefetch, self._num_unread = prefetch, num_unread
        self.waited_s = 0.0
        """Seconds that all calls so far have waited for contents to be drawn and prepared."""

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
            self._prefetch,
            is_slow=_is_decoded,
        )
        yield from self._decided(self._batches(self._awaited(windows)), task)

    def _awaited(self, windows: Iterator[T]) -> Iterator[T]:
        """Hand windows on, and count how long they are waited for."""
        while True:
            began = time.perf_counter()
            window = next(windows, None)
            self.waited_s += time.perf_counter() - began
            if window is None:
                return
            yield window

    def behind_gate(self, prepared: Sequence[Prepared], task: Task) -> Iterator[Gated | NoRoom]:
        """Prefill contents in batches of the token budget, and decide who reasons.

        Args:
            prepared: each with its number and its prompt.
            task: what is asked of all of them.
        """
        yield from self._decided(self._batches([prepared]), task)

    def _batches(
        self, windows: Iterable[Sequence[Prepared | Gated]]
    ) -> Iterator[Gated | list[Prepared]]:
        """Yield what could not be prepared, and all else in batches."""
        for window in windows:
            ready: list[Prepared] = []
            for prepared in window:
                if isinstance(prepared, Gated):
                    yield prepared
                else:
                    ready.append(prepared)
            samples = [sample for _, _, sample in ready]
            for rows in token_budget_batches(samples, self.budget):
                yield [ready[row] for row in rows]

    def _prepare(self, numbered: tuple[int, Content], instruction: str) -> Prepared | Gated:
        row, content = numbered
        try:
            return row, content, self._inputs.sample(content, instruction)
        except Exception as error:  # parsers of hostile bytes raise whatever they stumble over
            return Gated(row, content, Failure(error))

    def _decided(
        self, batches: Iterable[Gated | list[Prepared]], task: Task
    ) -> Iterator[Gated | NoRoom]:
        """Yield what is behind the gate; a batch is read when as many more as may be are launched.

        One that could not be launched is tried again when all before it have been read.
        """
        unread: deque[tuple[list[Prepared], Launched]] = deque()
        most = self._most_unread(task)
        for batch in batches:
            if isinstance(batch, Gated):
                yield batch
                continue
            unread.append((batch, self._launch(batch, task)))
            has_failed = isinstance(unread[-1][1], Failure)
            while len(unread) > (0 if has_failed else most):
                yield from self._read(*unread.popleft(), task)
        while unread:
            yield from self._read(*unread.popleft(), task)

    def _most_unread(self, task: Task) -> int:
        # Where all reason, keys and values of a batch would lie there while the one before decodes.
        all_reason = self._decoder.needs_past and task.policy == "always"
        return 0 if all_reason else self._num_unread

    def _launch(self, batch: Sequence[Prepared], task: Task) -> Launched:
        keep_past = self._decoder.needs_past
        try:
            return self._gate.launch(
                batch, policy=task.policy, keep_past=keep_past, theta=task.theta
            )
        except Exception as error:
            return _failure(error)

    def _read(
        self, batch: Sequence[Prepared], launched: Launched, task: Task
    ) -> Iterator[Gated | NoRoom]:
        """Yield the batch behind the gate; contents that fail come last and carry their failure."""
        failed: list[Gated] = []
        for one in self._bisected(batch, launched, task):
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
        self,
        batch: Sequence[Prepared],
        launched: Launched,
        task: Task,
        *,
        is_second_try: bool = False,
    ) -> Iterator[Gated | NoRoom]:
        found = _gated(launched)
        if not isinstance(found, Failure):
            self._count(batch)
            while found:  # whoever has been handed on is no longer held here
                yield found.popleft()
            return
        if is_out_of_memory(found.error):
            release_memory()
            if not is_second_try:
                yield NoRoom()
                again = self._launch(batch, task)
                yield from self._bisected(batch, again, task, is_second_try=True)
                return
            self._remember(batch)
        if len(batch) == 1:
            row, content, _ = batch[0]
            yield Gated(row, content, found)
            return
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            yield from self._bisected(half, self._launch(half, task), task)

    def _count(self, batch: Sequence[Prepared]) -> None:
        if 2 * padded_tokens([sample for _, _, sample in batch]) > self.budget.value:
            self.budget.held()

    def _remember(self, batch: Sequence[Prepared]) -> None:
        tokens = padded_tokens([sample for _, _, sample in batch])
        if tokens <= self.budget.value:
            self.budget.lower(tokens // 2)
            logger.warning("out of memory: batch_tokens=%d for now", self.budget.value)


def _is_decoded(numbered: tuple[int, Content]) -> bool:
    _, content = numbered
    return content.clip is not None or content.audio is not None


def _gated(launched: Launched) -> deque[Gated] | Failure:
    """Wait for a batch."""
    if isinstance(launched, Failure):
        return launched
    try:
        return deque(launched.gated())
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> Failure:
    if is_device_lost(error):
        raise error
    return Failure(error)


def _noted(
    numbered: Iterable[tuple[int, Content]], under_way: dict[int, Content]
) -> Iterator[tuple[int, Content]]:
    """Hand contents on, and note them as under way."""
    for row, content in numbered:
        under_way[row] = content
        yield row, content
