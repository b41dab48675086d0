"""The gate, and what may follow it: who reasons, how much, and by whom.

MMEmb-R1 (arXiv 2604.06156) describes the behaviour; its template and read-out are not public, so
the one-token gate and the read-out from one prefill are our reconstruction: the prompt is followed
by both control tokens of the direct answer, the gate is read before them and the direct embedding
behind them, and whoever reasons goes on from the keys and values of the prompt alone.

Shape legend:
  B = prompts in the batch, H = hidden size, Y = layers, K = key-value heads, L = tokens of a
  prompt, D = head size
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from embedder.content import Answer, Content, Encoding, Failure, Policy, Side, reasons
from embedder.model.backbone import Backbone
from embedder.prompting.answers import direct_answer
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample

NOT_FINITE = ArithmeticError("the model's vector is not finite; look at its weights and dtype")


@dataclass(frozen=True, slots=True)
class Gated:
    """A content behind the gate."""

    row: int
    content: Content
    answer: Answer
    """The direct encoding; stands if the content is not reasoned about."""

    reasons: bool = False
    past_Y2KLD: torch.Tensor | None = None
    """Keys and values of its prompt, for a decoder that goes on from them."""

    position: int = 0
    """Rotary position of the token after the prompt."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of all contents of a call."""

    side: Side

    instruction: str
    """The version's, for that side."""

    policy: Policy

    deadline: float | None = None
    """A moment of `time.monotonic`: what still reasons then is answered directly, and its encoding
    says so. None: no deadline."""

    max_new_tokens: int | None = None
    """Of a rationale, where that is less than the version's own limit."""


class Decoder(Protocol):
    """Reasons about the contents that the gate sends to it: the model itself, or another one."""

    @property
    def needs_past(self) -> bool:
        """Whether it goes on from the prompt's keys and values, which are then kept for it."""
        ...

    def decode(self, gated: Iterable[Gated], task: Task) -> Iterator[tuple[int, Answer]]:
        """Yield row and answer of every content, each as soon as it is there.

        A content that does not reason is handed on at once. Drawing the next one from `gated` makes
        the model prefill, so a decoder with enough to do draws none.
        """
        ...


class Gate:
    """Prefills prompts, and decides who reasons."""

    def __init__(self, backbone: Backbone, inputs: Inputs, *, theta: float) -> None:
        """Of one model version.

        Args:
            backbone: the model.
            inputs: its tokenizer.
            theta: of the version; see `embedder.content.reasons`.
        """
        self._backbone, self._inputs, self._theta = backbone, inputs, theta

    @torch.inference_mode()
    def decide(
        self,
        rows: Sequence[tuple[int, Content, Sample]],
        *,
        policy: Policy,
        keep_past: bool,
    ) -> list[Gated]:
        """Encode a batch directly and decide who reasons; those that do not come first.

        Args:
            rows: each with its number and its prompt, up to where the gate token goes.
            policy: `auto` lets the gate decide, `always` and `never` overrule it.
            keep_past: keep the keys and values of the prompts that reason.
        """
        inputs, backbone = self._inputs, self._backbone
        answer = direct_answer(inputs)
        prompts = inputs.prompts(
            [sample.extended(answer) for _, _, sample in rows], device=backbone.device
        )
        past = backbone.text.empty_past(prompts) if keep_past and policy != "never" else None
        ends = torch.tensor(prompts.lengths, device=backbone.device)
        read_B2 = torch.stack([ends - len(answer) - 1, ends - 1], dim=1)
        states_B2H = backbone.prefill(prompts, read_B2, past_Y2BKLD=past)
        gates = self._probabilities(states_B2H[:, 0]).tolist()
        vectors = F.normalize(states_B2H[:, 1].float(), dim=-1).cpu().numpy()
        positions = prompts.positions_3BL[0].gather(1, read_B2[:, :1] + 1)[:, 0].tolist()
        gated = []
        for place, (row, content, _) in enumerate(rows):
            if not np.isfinite(vectors[place]).all():
                gated.append(Gated(row, content, Failure(NOT_FINITE)))
                continue
            encoding = Encoding(vectors[place], "direct", gates[place])
            if not reasons(gates[place], policy=policy, theta=self._theta):
                gated.append(Gated(row, content, encoding))
                continue
            end = prompts.lengths[place] - len(answer)
            kept = None if past is None else past[:, :, place, :, :end].clone()
            gated.append(Gated(row, content, encoding, True, kept, positions[place]))
        return sorted(gated, key=lambda one: one.reasons)

    def _probabilities(self, states_BH: torch.Tensor) -> torch.Tensor:
        """Return the [B] probability of `reason` against `direct`."""
        token_ids = [self._inputs.direct_id, self._inputs.reason_id]
        return torch.softmax(self._backbone.logits(states_BH, token_ids).float(), dim=-1)[:, 1]
