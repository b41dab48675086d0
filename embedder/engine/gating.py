"""The gate, and what may follow it: who reasons, how much, and by whom.

MMEmb-R1 (arXiv 2604.06156) describes the behaviour; its template and read-out are not public, so
the one-token gate and the read-out from one prefill are our reconstruction: the prompt is followed
by both control tokens of the direct answer, the gate is read before them and the direct embedding
behind them, and whoever reasons goes on from the keys and values of the prompt alone.

Shape legend:
  B = prompts in the batch, H = hidden size, Y = layers, K = key-value heads, L = tokens of a
  prompt, D = head size, A = places read of each prompt: the gate's, then those of the vector
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from embedder.content import Answer, Content, Encoding, Failure, Policy, Side, reasons
from embedder.model.backbone import Backbone
from embedder.model.side_stream import beside_work
from embedder.prompting.answers import direct_answer
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample
from embedder.prompting.transfer import on_device

NOT_FINITE = ArithmeticError("the model's vector is not finite; look at its weights and dtype")


@dataclass(frozen=True, slots=True)
class Gated:
    """A content behind the gate."""

    row: int
    content: Content
    answer: Answer
    """The direct encoding; stands in where reasoning comes to nothing."""

    reasons: bool = False
    past_Y2KLD: torch.Tensor | None = None
    """Keys and values of its prompt, for a decoder that goes on from them."""

    position: int = 0
    """Rotary position of the token after the prompt."""


@dataclass(slots=True)
class Prefilled:
    """A batch that has been launched; the device may still be at it."""

    rows: list[tuple[int, Content]]
    policy: Policy
    theta: float
    gates_B: torch.Tensor
    """Probabilities of the gate."""

    vectors_BH: torch.Tensor
    positions_B: torch.Tensor
    """Rotary positions of the token after each prompt."""

    ends: list[int]
    """Tokens of each prompt."""

    past_Y2BKLD: torch.Tensor | None
    """Their keys and values; None where nobody goes on from them."""

    @torch.inference_mode()
    def gated(self) -> list[Gated]:
        """Wait for the device, and tell what has become of each; those that reason come last.

        To be asked once: keys and values of those that do not reason are dropped.
        """
        past, self.past_Y2BKLD = self.past_Y2BKLD, None
        gates, positions = self.gates_B.tolist(), self.positions_B.tolist()
        vectors = self.vectors_BH.cpu().numpy()
        found = []
        for place, (row, content) in enumerate(self.rows):
            if not np.isfinite(vectors[place]).all():
                found.append(Gated(row, content, Failure(NOT_FINITE)))
                continue
            encoding = Encoding(vectors[place], "direct", gates[place])
            if not reasons(gates[place], policy=self.policy, theta=self.theta):
                found.append(Gated(row, content, encoding))
                continue
            kept = None if past is None else past[:, :, place, :, : self.ends[place]].clone()
            found.append(Gated(row, content, encoding, True, kept, positions[place]))
        return sorted(found, key=lambda one: one.reasons)


class NoRoom:
    """Comes in place of a content when memory ran out: a decoder ends what it holds, then goes on.

    The content comes behind it; what the decoder held may have been in its way.
    """


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

    theta: float | None = None
    """Policy `auto` reasons from this probability on; None: the version's own."""


class Decoder(Protocol):
    """Reasons about the contents that the gate sends to it: the model itself, or another one."""

    @property
    def needs_past(self) -> bool:
        """Whether it goes on from the prompt's keys and values, which are then kept for it."""
        ...

    def decode(self, gated: Iterable[Gated | NoRoom], task: Task) -> Iterator[tuple[int, Answer]]:
        """Yield row and answer of every content, each as soon as it is there.

        A content that does not reason is handed on at once. Drawing the next one from `gated` makes
        the model prefill, so a decoder with enough to do draws none. At `NoRoom` it ends all that
        it holds before it draws again.
        """
        ...


class Gate:
    """Prefills prompts, and tells who reasons."""

    def __init__(self, backbone: Backbone, inputs: Inputs, *, theta: float) -> None:
        """Of one model version.

        Args:
            backbone: the model.
            inputs: its tokenizer.
            theta: of the version; see `embedder.content.reasons`.
        """
        self._backbone, self._inputs, self._theta = backbone, inputs, theta
        self._gate_ids = torch.tensor(inputs.gate_ids, device=backbone.device)

    @torch.inference_mode()
    def launch(
        self,
        rows: Sequence[tuple[int, Content, Sample]],
        *,
        policy: Policy,
        keep_past: bool,
        theta: float | None = None,
    ) -> Prefilled:
        """Have a batch encoded directly, without waiting for it.

        Args:
            rows: each with its number and its prompt, up to where the gate token goes.
            policy: `auto` lets the gate decide, `always` and `never` overrule it.
            keep_past: keep the keys and values of the prompts that reason.
            theta: in place of the version's own.
        """
        inputs, backbone = self._inputs, self._backbone
        answer = direct_answer(inputs)
        samples = [sample.extended(answer) for _, _, sample in rows]
        with beside_work(backbone.device) as made:
            prompts = inputs.prompts(samples, device=backbone.device)
            ends_B = on_device(np.array(prompts.lengths), backbone.device)
            gate_B = ends_B - len(answer) - 1
            read_BA = torch.stack([gate_B, *(ends_B - back for back in backbone.read_back)], dim=1)
            positions_B = prompts.positions_3BL[0].gather(1, gate_B[:, None] + 1)[:, 0]
            made += [*prompts.tensors(), read_BA, positions_B]
        past = backbone.text.empty_past(prompts) if keep_past and policy != "never" else None
        states_BAH = backbone.prefill(prompts, read_BA, past_Y2BKLD=past)
        return Prefilled(
            [(row, content) for row, content, _ in rows],
            policy,
            self._theta if theta is None else theta,
            self._probabilities(states_BAH[:, 0]),
            backbone.vectors(states_BAH[:, 1:]),
            positions_B,
            [length - len(answer) for length in prompts.lengths],
            past,
        )

    def _probabilities(self, states_BH: torch.Tensor) -> torch.Tensor:
        """Return the [B] probability of `reason` against `direct`."""
        logits_B2 = self._backbone.logits(states_BH, self._gate_ids).float()
        return torch.softmax(logits_B2, dim=-1)[:, 1]
