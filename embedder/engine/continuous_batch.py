"""The one decode loop: a continuous batch of rationales that go on from their prompts.

A rationale that is done leaves at once and a waiting one takes its slot, so that the batch stays
full whatever the lengths. What its next token is, a chooser decides (`embedder.engine.sampling`):
the likeliest one when contents are encoded, a drawn one when rollouts of the gate are.

Shape legend:
  R = rationales that are decoded together, H = hidden size, Y = layers, K = key-value heads,
  L = tokens read so far, D = head size
"""

import logging
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

import torch

from embedder.engine.memory import ShrinkingLimit, is_out_of_memory, release_memory
from embedder.engine.sampling import Chooser
from embedder.model.backbone import Backbone
from embedder.model.decode_steps import decode_steps
from embedder.model.kv_cache import SlotCache
from embedder.prompting.inputs import Inputs

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ActiveRationale:
    """A rationale that is under way."""

    number: int
    """What the caller knows it by."""

    past_Y2KLD: torch.Tensor | None
    """Keys and values of what it has read and said, while it waits for a slot. Those of one prompt
    may be shared by many."""

    position: int
    """Rotary position of the token after the prompt."""

    tokens: list[int] = field(default_factory=list)
    """Generated so far, behind the gate token; the last one has not been read yet."""

    max_new_tokens: int | None = None
    """Its own limit, where that is less than the batch's."""

    before_end_H: torch.Tensor | None = None
    """The state that the embedding token followed, once it has."""


@dataclass(frozen=True, slots=True)
class FinishedRationale:
    """What became of a rationale."""

    number: int

    tokens: list[int]
    """From behind the gate token to the embedding token."""

    states_RH: torch.Tensor | None = None
    """What its vector is read from (`Backbone.read_back`); None where it is not read."""

    error: Exception | None = None
    """Why it came to no end: it fits into no memory, even alone."""


class ContinuousBatch:
    """The rationales of one call: those that wait and those that are decoded."""

    def __init__(
        self,
        backbone: Backbone,
        inputs: Inputs,
        choose: Chooser,
        *,
        max_new_tokens: int,
        num_slots: int,
        reads_end: bool = True,
    ) -> None:
        """An empty batch.

        Args:
            backbone: the model.
            inputs: its tokenizer.
            choose: the next token of each rationale.
            max_new_tokens: the embedding token closes a rationale by force as its token of this
                number.
            num_slots: rationales that are decoded at once; fewer where memory runs out, for as long
                as it does.
            reads_end: whether the model also reads the embedding token, for the vector.
        """
        self._backbone, self._inputs, self._choose = backbone, inputs, choose
        self._max_new_tokens, self._reads_end = max_new_tokens, reads_end
        self._slots = ShrinkingLimit(num_slots)
        self._cache = SlotCache(num_slots, dtype=backbone.model.dtype, device=backbone.device)
        self._steps = decode_steps(backbone.text, num_slots=num_slots, device=backbone.device)
        self._waiting: deque[ActiveRationale] = deque()
        self._active: list[ActiveRationale] = []

    @property
    def num_waiting(self) -> int:
        """Rationales that wait for a slot."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """Keys and values of those, in bytes."""
        return sum(one.past_Y2KLD.nbytes for one in self._waiting if one.past_Y2KLD is not None)

    @property
    def is_busy(self) -> bool:
        """Whether anything waits or is decoded."""
        return bool(self._waiting or self._active)

    def wait(self, rationale: ActiveRationale) -> None:
        """Queues a rationale; it begins with the gate token."""
        self._waiting.append(rationale)

    def abandon(self) -> list[int]:
        """Drops everything that is not done, and returns its numbers."""
        left = [rationale.number for rationale in (*self._active, *self._waiting)]
        self._active.clear()
        self._waiting.clear()
        self._cache.clear()
        self._steps.forget()
        return left

    def release(self) -> None:
        """Gives memory back that nobody uses, for others to take."""
        self._steps.forget()
        if not self._active:
            self._cache.clear()
        release_memory()

    @torch.inference_mode()  # as the tensors are that it moves
    def give_up(self, numbers: Collection[int]) -> None:
        """Drops those of these numbers that are not done; the others go on."""
        self._waiting = deque(one for one in self._waiting if one.number not in numbers)
        for slot in reversed(range(len(self._active))):  # a leaving one moves only later slots
            if self._active[slot].number in numbers:
                self._leave(slot)

    @torch.inference_mode()
    def advance(self) -> list[FinishedRationale]:
        """Fills free slots and decodes one token of each; returns what that has finished."""
        failed = self._join()
        if failed is not None or not self._active:
            return [] if failed is None else [failed]
        self._cache.grow()
        try:
            states_RH = self._step()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            without = error.with_traceback(None)  # which holds on to tensors
        else:
            if len(self._active) == self._slots.value:
                self._slots.held()
            return self._finish(states_RH)
        return self._make_room(without)

    def _join(self) -> FinishedRationale | None:
        """Moves waiting rationales into free slots; returns one that fits into no memory."""
        while self._waiting and len(self._active) < self._slots.value:
            rationale = self._waiting[0]
            error = self._place(rationale, has_spare=True)
            if error is not None and self._active:  # they finish first
                self._slots.lower(len(self._active))
                return None
            if error is not None:
                self._slots.lower(1)
                self.release()
                error = self._place(rationale, has_spare=False)
            self._waiting.popleft()
            if error is not None:
                return FinishedRationale(rationale.number, rationale.tokens, error=error)
            self._active.append(rationale)
        return None

    def _place(self, rationale: ActiveRationale, *, has_spare: bool) -> Exception | None:
        """Put what a rationale has read into a slot; return why there is none."""
        assert rationale.past_Y2KLD is not None
        room = self._room(rationale)
        try:
            self._cache.join(rationale.past_Y2KLD, room=room, has_spare=has_spare)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return error.with_traceback(None)
        rationale.past_Y2KLD = None
        return None

    def _room(self, rationale: ActiveRationale) -> int:
        """Count the tokens that may still be read, the gate token included."""
        return self._limit(rationale) + self._reads_end - len(rationale.tokens)

    def _limit(self, rationale: ActiveRationale) -> int:
        own = rationale.max_new_tokens
        return self._max_new_tokens if own is None else min(own, self._max_new_tokens)

    def _step(self) -> torch.Tensor:
        """Return [R, H] states of the newest token of each active rationale."""
        newest = [one.tokens[-1] if one.tokens else self._inputs.reason_id for one in self._active]
        positions = [one.position + len(one.tokens) for one in self._active]
        return self._steps.states(newest, positions, self._cache)

    def _finish(self, states_RH: torch.Tensor) -> list[FinishedRationale]:
        """Gives a next token to whoever goes on; returns those who are done."""
        logits_RV = self._backbone.logits(states_RH)
        chosen = self._choose(logits_RV, [rationale.number for rationale in self._active])
        done: list[FinishedRationale] = []
        for slot in reversed(range(len(self._active))):  # a leaving one moves only later slots
            rationale = self._active[slot]
            has_read_end = self._has_ended(rationale)
            if not has_read_end:
                is_last = len(rationale.tokens) >= self._limit(rationale) - 1
                rationale.tokens.append(self._inputs.emb_id if is_last else chosen[slot])
                rationale.before_end_H = states_RH[slot]
            if has_read_end or (not self._reads_end and self._has_ended(rationale)):
                read_RH = self._read(rationale, states_RH[slot]) if has_read_end else None
                done.append(FinishedRationale(rationale.number, rationale.tokens, read_RH))
                self._leave(slot)
        return done

    def _read(self, rationale: ActiveRationale, end_H: torch.Tensor) -> torch.Tensor:
        """Return [R, H] the states that the vector is read from."""
        assert rationale.before_end_H is not None
        states = {1: end_H, 2: rationale.before_end_H}
        return torch.stack([states[back] for back in self._backbone.read_back])

    def _has_ended(self, rationale: ActiveRationale) -> bool:
        return bool(rationale.tokens) and rationale.tokens[-1] == self._inputs.emb_id

    def _leave(self, slot: int) -> None:
        self._cache.leave(slot)
        last = self._active.pop()
        if slot < len(self._active):
            self._active[slot] = last

    def _make_room(self, error: Exception) -> list[FinishedRationale]:
        """Sends half of the rationales back to waiting, after a step that ran out of memory."""
        self._cache.shrink()
        if len(self._active) == 1:
            rationale = self._active[0]
            self._leave(0)
            self.release()
            return [FinishedRationale(rationale.number, rationale.tokens, error=error)]
        self._slots.lower(len(self._active) // 2)
        logger.warning("out of memory while reasoning: slots=%d for now", self._slots.value)
        while len(self._active) > self._slots.value:
            slot = len(self._active) - 1
            rationale = self._active[slot]
            rationale.past_Y2KLD = self._cache.take(slot)
            self._waiting.appendleft(rationale)
            self._leave(slot)
        self.release()
        return []
