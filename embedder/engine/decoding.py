"""The model as its own decoder: it writes the likeliest rationale and is read as it does so.

The embedding is the state at the embedding token, read as the decoding comes by it; there is no
second forward over prompt and rationale.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from embedder.content import Answer, Encoding, Failure
from embedder.engine.continuous_batch import ActiveRationale, ContinuousBatch, FinishedRationale
from embedder.engine.gating import Gated, NoRoom, Task
from embedder.engine.memory import free_bytes
from embedder.engine.sampling import likeliest
from embedder.model.backbone import Backbone
from embedder.prompting.answers import read_rationale
from embedder.prompting.inputs import Inputs

NO_TIME_LEFT = "its rationale was not done when the deadline came"
WAITING_SHARE = 4
"""Prompts that wait may take this part of the memory that is free when the decoding begins."""


class SelfDecoder:
    """Reasons with the model that embeds; implements `embedder.engine.gating.Decoder`."""

    needs_past = True

    def __init__(
        self,
        backbone: Backbone,
        inputs: Inputs,
        *,
        max_new_tokens: int,
        num_slots: int = 64,
        max_waiting: int = 256,
        max_waiting_bytes: int | None = None,
    ) -> None:
        """A decoder of one model version.

        Args:
            backbone: the model.
            inputs: its tokenizer.
            max_new_tokens: after so many tokens a rationale is closed by force.
            num_slots: rationales that are decoded at once.
            max_waiting: prefilled prompts that wait for a slot, at most, before no more are
                prefilled. Direct answers behind them wait as well, so it should be generous.
            max_waiting_bytes: of their keys and values, likewise; None: a quarter of the memory
                that is free when the decoding begins.
        """
        self._backbone, self._inputs = backbone, inputs
        self._max_new_tokens, self._num_slots = max_new_tokens, num_slots
        self._max_waiting, self._max_waiting_bytes = max_waiting, max_waiting_bytes

    def decode(self, gated: Iterable[Gated | NoRoom], task: Task) -> Iterator[tuple[int, Answer]]:
        """See `embedder.engine.gating.Decoder`; direct answers leave as they come."""
        batch = self.empty_batch()
        direct: dict[int, Encoding] = {}
        most_bytes = self._waiting_bytes()
        for one in gated:
            if isinstance(one, NoRoom):
                while batch.is_busy:
                    yield from self._advance(batch, direct, task.deadline)
                batch.release()
                continue
            if not one.reasons:
                yield one.row, one.answer
                continue
            direct[one.row] = self.join(batch, one, task)
            del one  # its keys and values are the batch's now
            while batch.num_waiting > self._max_waiting or batch.waiting_bytes > most_bytes:
                yield from self._advance(batch, direct, task.deadline)
        while batch.is_busy:
            yield from self._advance(batch, direct, task.deadline)

    def join(self, batch: ContinuousBatch, gated: Gated, task: Task) -> Encoding:
        """Let a content that reasons wait in a batch; return its direct encoding."""
        assert isinstance(gated.answer, Encoding)
        rationale = ActiveRationale(
            gated.row, gated.past_Y2KLD, gated.position, max_new_tokens=task.max_new_tokens
        )
        batch.wait(rationale)
        return gated.answer

    def _waiting_bytes(self) -> int:
        if self._max_waiting_bytes is not None:
            return self._max_waiting_bytes
        return free_bytes(self._backbone.device) // WAITING_SHARE

    def empty_batch(self) -> ContinuousBatch:
        """Return a batch that nothing is in yet."""
        forbidden = torch.tensor(self._inputs.forbidden_ids, device=self._backbone.device)

        def choose(logits_RV: torch.Tensor, numbers: Sequence[int]) -> list[int]:
            return likeliest(logits_RV, forbidden=forbidden)

        return ContinuousBatch(
            self._backbone,
            self._inputs,
            choose,
            max_new_tokens=self._max_new_tokens,
            num_slots=self._num_slots,
        )

    def _advance(
        self, batch: ContinuousBatch, direct: dict[int, Encoding], deadline: float | None
    ) -> Iterator[tuple[int, Answer]]:
        """Decodes one more token of each, or gives all up once the deadline has come."""
        if deadline is not None and time.monotonic() >= deadline:
            for row in batch.abandon():
                yield row, replace(direct.pop(row), fallback=NO_TIME_LEFT, out_of_time=True)
            return
        for finished in batch.advance():
            yield finished.number, self.answer(direct.pop(finished.number), finished)

    def answer(self, direct: Encoding, finished: FinishedRationale) -> Answer:
        """Return what became of a content, given its direct encoding and its rationale."""
        if finished.error is not None:
            return Failure(finished.error)
        assert finished.states_RH is not None
        token_ids = finished.tokens[:-1]  # without the embedding token
        rationale, summary = read_rationale(self._inputs, token_ids)
        return replace(
            direct,
            vector=self._backbone.vectors(finished.states_RH[None])[0].cpu().numpy(),
            action="reason",
            rationale=rationale,
            summary=summary,
            rationale_tokens=len(token_ids),
        )
