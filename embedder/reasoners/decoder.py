"""Another reasoner in the place of the model's own decoding (Think-Then-Embed).

What the gate sends to reason goes to the reasoner, and is read together with what came back.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from embedder.content import Answer, Encoding
from embedder.engine.gating import Gated, NoRoom, Task
from embedder.model.checkpoint import Checkpoint
from embedder.reasoners.given_rationales import encode_with_rationales
from embedder.reasoners.reasoner import NoRationale, Rationale, Reasoner, ReasonerOutage

TOO_LATE = "the reasoner had not answered when the deadline came"
MAX_WAITERS = 8  # calls that may be under way after their deadline; further ones wait for them
WINDOW = 4_096  # contents that the reasoner is asked about together


class ReasonerDecoder:
    """Asks a reasoner; implements `embedder.engine.gating.Decoder`.

    A content whose rationale cannot be had is answered directly, and its `fallback` says why. At
    the deadline the reasoner is no longer waited for, but not interrupted: what it still writes may
    be kept for the next time.
    """

    needs_past = False

    def __init__(self, checkpoint: Checkpoint, reasoner: Reasoner) -> None:
        """Asks nobody yet.

        Args:
            checkpoint: reads what the reasoner writes.
            reasoner: writes.
        """
        self._checkpoint, self._reasoner = checkpoint, reasoner
        self._waiters = ThreadPoolExecutor(MAX_WAITERS, thread_name_prefix="reasoner")

    def decode(self, gated: Iterable[Gated | NoRoom], task: Task) -> Iterator[tuple[int, Answer]]:
        """See `embedder.engine.gating.Decoder`.

        Raises:
            ReasonerOutage: of items. The catalogue would lose its reasoning item by item without a
                word, so nothing more is encoded until the reasoner is back.
        """
        window: list[Gated] = []
        for one in gated:
            if isinstance(one, NoRoom):  # nothing here takes the model's memory
                continue
            if not one.reasons:
                yield one.row, one.answer
                continue
            window.append(one)
            if len(window) == WINDOW:
                yield from self._reasoned(window, task)
                window = []
        if window:
            yield from self._reasoned(window, task)

    def _reasoned(self, gated: Sequence[Gated], task: Task) -> Iterator[tuple[int, Answer]]:
        written = self._written(gated, task)
        if task.side == "item":
            self._check_up(written)
        readable: list[tuple[Gated, Rationale]] = []
        for one, outcome in zip(gated, written, strict=True):
            if isinstance(outcome, Rationale):
                readable.append((one, outcome))
            else:
                late = outcome.reason == TOO_LATE
                yield one.row, replace(_direct(one), fallback=outcome.reason, out_of_time=late)
        vectors = encode_with_rationales(
            self._checkpoint,
            [one.content for one, _ in readable],
            [rationale for _, rationale in readable],
            side=task.side,
            max_new_tokens=task.max_new_tokens,
        )
        for vector, (one, rationale) in zip(vectors, readable, strict=True):
            yield (
                one.row,
                replace(
                    _direct(one),
                    vector=vector,
                    action="reason",
                    rationale=rationale.text,
                    summary=rationale.summary,
                    rationale_tokens=rationale.num_tokens,
                ),
            )

    def _written(self, gated: Sequence[Gated], task: Task) -> Sequence[Rationale | NoRationale]:
        contents = [one.content for one in gated]
        if task.deadline is None:
            return self._reasoner.reason(contents, task.side)
        asked = self._waiters.submit(self._reasoner.reason, contents, task.side)
        try:
            return asked.result(timeout=max(0.0, task.deadline - time.monotonic()))
        except TimeoutError:
            return [NoRationale(TOO_LATE)] * len(contents)

    def _check_up(self, written: Iterable[Rationale | NoRationale]) -> None:
        for outcome in written:
            if isinstance(outcome, NoRationale) and outcome.is_outage:
                raise ReasonerOutage(
                    f"the reasoner {self._reasoner.name!r} must answer, or PONDER_POLICY be never: "
                    f"{outcome.reason}; nothing was written, run the step again when it is back"
                )


def _direct(gated: Gated) -> Encoding:
    assert isinstance(gated.answer, Encoding)  # what has failed does not reason
    return gated.answer
