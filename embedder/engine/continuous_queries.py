"""Queries that join a running model: prefilled together, decoded in one continuous batch.

Each call of `advance` prefills whoever has joined since the last one and decodes one token of each
rationale. So a direct answer waits for a step of the others at most, and not for their rationales.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from embedder.content import Answer, Content, Encoding, Failure, Policy
from embedder.engine.decoding import NO_TIME_LEFT, SelfDecoder
from embedder.engine.engine import Engine, Prepared
from embedder.engine.gating import NoRoom, Task
from embedder.engine.memory import is_out_of_memory
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample

NO_MEMORY_LEFT = "its rationale fits into no memory, or others had taken it"

TaskOf = Callable[[Policy | None], Task]
"""What is asked of a query under a policy; ValueError where the version cannot follow it."""


class ContinuousQueries:
    """The queries under way on one model; implements `embedder.query_batch.QueryBatch`."""

    def __init__(
        self, engine: Engine, inputs: Inputs, decoder: SelfDecoder, task_of: TaskOf
    ) -> None:
        """An empty batch.

        Args:
            engine: prefills and decides.
            inputs: prepares contents.
            decoder: of the same model.
            task_of: see `TaskOf`.
        """
        self._engine, self._inputs, self._decoder, self._task_of = engine, inputs, decoder, task_of
        self._batch = decoder.empty_batch()
        self._joining: list[tuple[Prepared, Task]] = []
        self._reasoning: dict[int, tuple[Encoding, Task]] = {}
        self._step_s = 0.0

    @property
    def num_under_way(self) -> int:
        """Queries that were added and have no answer yet."""
        return len(self._joining) + len(self._reasoning)

    def prepare(self, content: Content, *, policy: Policy | None) -> tuple[Content, Sample]:
        """Return the content with its prompt; see `embedder.query_batch.QueryBatch`."""
        return content, self._inputs.sample(content, self._task_of(policy).instruction)

    def add(
        self,
        number: int,
        prepared: tuple[Content, Sample],
        *,
        policy: Policy | None,
        deadline: float | None,
        max_new_tokens: int | None,
    ) -> None:
        """Let a query join with the next advance; see `embedder.query_batch.QueryBatch`."""
        content, sample = prepared
        task = replace(self._task_of(policy), deadline=deadline, max_new_tokens=max_new_tokens)
        self._joining.append(((number, content, sample), task))

    def advance(self) -> list[tuple[int, Answer]]:
        """Prefill who has joined and decode one token of each; see `QueryBatch`."""
        answers = [*self._joined(), *self._out_of_time()]
        began = time.monotonic()
        answers.extend(self._decoded())
        self._step_s = time.monotonic() - began
        return answers

    def _decoded(self) -> Iterator[tuple[int, Answer]]:
        """Yield who is done with one more token of each."""
        for finished in self._batch.advance():
            direct, _ = self._reasoning.pop(finished.number)
            answer = self._decoder.answer(direct, finished)
            if isinstance(answer, Failure) and is_out_of_memory(answer.error):
                answer = replace(direct, fallback=NO_MEMORY_LEFT)
            yield finished.number, answer

    def _drained(self) -> Iterator[tuple[int, Answer]]:
        """Yield whoever is decoded, until nobody is: new ones find no memory."""
        while self._batch.is_busy:
            yield from self._out_of_time()
            yield from self._decoded()
        self._batch.release()

    def _joined(self) -> Iterator[tuple[int, Answer]]:
        """Yield the answers of those that do not reason; the others wait for a slot."""
        joining, self._joining = self._joining, []
        tasks = {prepared[0]: task for prepared, task in joining}
        by_policy: dict[Policy, list[Prepared]] = {}
        for prepared, task in joining:
            by_policy.setdefault(task.policy, []).append(prepared)
        for group in by_policy.values():
            for one in self._engine.behind_gate(group, tasks[group[0][0]]):
                if isinstance(one, NoRoom):
                    yield from self._drained()
                elif one.reasons:
                    task = tasks[one.row]
                    self._reasoning[one.row] = self._decoder.join(self._batch, one, task), task
                else:
                    yield one.row, one.answer

    def _out_of_time(self) -> Iterator[tuple[int, Answer]]:
        # Whose deadline passes within the next token would be answered too late behind it.
        then = time.monotonic() + self._step_s
        late = {
            number
            for number, (_, task) in self._reasoning.items()
            if task.deadline is not None and task.deadline <= then
        }
        if late:
            self._batch.give_up(late)
        for number in late:
            direct, _ = self._reasoning.pop(number)
            yield number, replace(direct, fallback=NO_TIME_LEFT, out_of_time=True)
