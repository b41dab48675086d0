"""The model as its own decoder: a continuous batch of rationales, decoded greedily.

A rationale that is done leaves at once and a waiting one takes its slot, so that the batch stays
full whatever the lengths. The embedding is the state at the embedding token, read as the decoding
comes by it; there is no second forward over prompt and rationale.

Shape legend: R = sequences that are decoded together, H = hidden size, V = vocabulary
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F

from embedder.content import Answer, Encoding, Failure
from embedder.engine.gating import Gated
from embedder.engine.memory import is_out_of_memory
from embedder.model.backbone import Backbone
from embedder.model.kv_cache import SlotCache
from embedder.prompting.inputs import Inputs

logger = logging.getLogger(__name__)

NO_TIME_LEFT = "its rationale was not done when the deadline came"


@dataclass(slots=True)
class ActiveRationale:
    """A rationale that is under way."""

    gated: Gated
    past_Y2KLD: torch.Tensor | None
    """Keys and values of what it has read and said, while it waits for a slot."""

    tokens: list[int] = field(default_factory=list)
    """Generated so far; the last one has not been read yet."""


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
    ) -> None:
        """A decoder of one model version.

        Args:
            backbone: the model.
            inputs: its tokenizer.
            max_new_tokens: after so many tokens a rationale is closed by force.
            num_slots: rationales that are decoded at once.
            max_waiting: prefilled prompts that wait for a slot, at most, before no more are
                prefilled. Direct answers behind them wait as well, so it should be generous.
        """
        self.backbone, self.inputs = backbone, inputs
        self.max_new_tokens, self.num_slots = max_new_tokens, num_slots
        self.max_waiting = max_waiting

    def decode(
        self, gated: Iterable[Gated], deadline: float | None = None
    ) -> Iterator[tuple[int, Answer]]:
        """See `embedder.engine.gating.Decoder`; direct answers leave as they come."""
        batch = ContinuousBatch(self, deadline)
        for one in gated:
            if not one.reasons:
                yield one.row, one.answer
                continue
            batch.wait(one)
            while batch.num_waiting > self.max_waiting:
                yield from batch.advance()
        while batch.is_busy:
            yield from batch.advance()


class ContinuousBatch:
    """The rationales of one call: those that wait and those that are decoded."""

    def __init__(self, decoder: SelfDecoder, deadline: float | None) -> None:
        self._decoder, self._deadline = decoder, deadline
        backbone = decoder.backbone
        self._num_slots = decoder.num_slots
        self._cache = SlotCache(self._num_slots, dtype=backbone.model.dtype, device=backbone.device)
        self._waiting: deque[ActiveRationale] = deque()
        self._active: list[ActiveRationale] = []

    @property
    def num_waiting(self) -> int:
        """Prompts that wait for a slot."""
        return len(self._waiting)

    @property
    def is_busy(self) -> bool:
        """Whether anything waits or is decoded."""
        return bool(self._waiting or self._active)

    def wait(self, gated: Gated) -> None:
        """Queues a content that the gate has sent to reason."""
        self._waiting.append(ActiveRationale(gated, gated.past_Y2KLD))

    @torch.inference_mode()
    def advance(self) -> list[tuple[int, Answer]]:
        """Fills free slots and decodes one token of each; gives what that has finished."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return self._give_up()
        failed = self._join()
        if failed is not None or not self._active:
            return [] if failed is None else [failed]
        try:
            states_RH = self._step()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return self._make_room(error)
        return self._finish(states_RH)

    def _join(self) -> tuple[int, Answer] | None:
        """Moves waiting prompts into free slots; gives the one that fits into no memory at all."""
        while self._waiting and len(self._active) < self._num_slots:
            rationale = self._waiting[0]
            try:
                assert rationale.past_Y2KLD is not None
                self._cache.join(rationale.past_Y2KLD, room=self._room(rationale))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self._active:  # they finish first
                    self._num_slots = len(self._active)
                    return None
                self._waiting.popleft()
                return rationale.gated.row, Failure(error)
            rationale.past_Y2KLD = None
            self._active.append(self._waiting.popleft())
        return None

    def _room(self, rationale: ActiveRationale) -> int:
        return self._decoder.max_new_tokens + 1 - len(rationale.tokens)

    def _step(self) -> torch.Tensor:
        """[R, H] states of the newest token of each active rationale."""
        backbone, inputs = self._decoder.backbone, self._decoder.inputs
        newest = [t.tokens[-1] if t.tokens else inputs.reason_id for t in self._active]
        positions = [t.gated.position + len(t.tokens) for t in self._active]
        device = backbone.device
        return backbone.text.step(
            torch.tensor(newest, device=device), torch.tensor(positions, device=device), self._cache
        )

    def _finish(self, states_RH: torch.Tensor) -> list[tuple[int, Answer]]:
        """Gives a next token to whoever goes on, and the answers of those who are done."""
        inputs = self._decoder.inputs
        logits_RV = self._decoder.backbone.logits(states_RH)
        chosen = likeliest(logits_RV, forbidden=inputs.forbidden_ids)
        done: list[tuple[int, Answer]] = []
        for slot in reversed(range(len(self._active))):  # a leaving one moves only later slots
            rationale = self._active[slot]
            if rationale.tokens and rationale.tokens[-1] == inputs.emb_id:
                done.append((rationale.gated.row, self._reasoned(rationale, states_RH[slot])))
            else:
                is_last = len(rationale.tokens) >= self._decoder.max_new_tokens - 1
                rationale.tokens.append(inputs.emb_id if is_last else chosen[slot])
                continue
            self._leave(slot)
        return done

    def _leave(self, slot: int) -> None:
        self._cache.leave(slot)
        last = self._active.pop()
        if slot < len(self._active):
            self._active[slot] = last

    def _reasoned(self, rationale: ActiveRationale, state_H: torch.Tensor) -> Encoding:
        inputs = self._decoder.inputs
        token_ids = rationale.tokens[:-1]  # without the embedding token
        split = (
            token_ids.index(inputs.summary_id) if inputs.summary_id in token_ids else len(token_ids)
        )
        direct = rationale.gated.answer
        assert isinstance(direct, Encoding)
        return replace(
            direct,
            vector=F.normalize(state_H.float(), dim=-1).cpu().numpy(),
            action="reason",
            rationale=inputs.decode(token_ids[:split]),
            summary=inputs.decode(token_ids[split + 1 :]),
            rationale_tokens=len(token_ids),
        )

    def _give_up(self) -> list[tuple[int, Answer]]:
        """Everything that is not done is answered directly."""
        left = [*self._active, *self._waiting]
        self._active.clear()
        self._waiting.clear()
        self._cache = SlotCache(0, dtype=torch.float32, device=self._cache.lengths_S.device)
        return [(rationale.gated.row, _cut_short(rationale)) for rationale in left]

    def _make_room(self, error: Exception) -> list[tuple[int, Answer]]:
        """After a step that ran out of memory: half of the thoughts go back to waiting."""
        self._cache.shrink()
        if len(self._active) == 1:
            rationale = self._active[0]
            self._leave(0)
            return [(rationale.gated.row, Failure(error))]
        self._num_slots = len(self._active) // 2
        logger.warning("out of memory while reasoning: slots=%d from now on", self._num_slots)
        while len(self._active) > self._num_slots:
            slot = len(self._active) - 1
            rationale = self._active[slot]
            rationale.past_Y2KLD = self._cache.take(slot).cpu()
            self._waiting.appendleft(rationale)
            self._leave(slot)
        return []


def likeliest(logits_RV: torch.Tensor, *, forbidden: Sequence[int]) -> list[int]:
    """The likeliest token of each row that is not forbidden; the logits are overwritten."""
    logits_RV[:, forbidden] = float("-inf")
    return logits_RV.argmax(dim=-1).tolist()


def _cut_short(rationale: ActiveRationale) -> Encoding:
    direct = rationale.gated.answer
    assert isinstance(direct, Encoding)
    return replace(direct, fallback=NO_TIME_LEFT)
