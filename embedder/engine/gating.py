"""The gate, and what may follow it: who reasons, how much, and by whom.

MMEmb-R1 (arXiv 2604.06156) describes the behaviour; its template and read-out are not public, so
the one-token gate and the read-out from one prefill are our reconstruction: the prompt is followed
by both control tokens of the direct answer, the gate is read before them and the direct embedding
behind them, and whoever reasons goes on from the keys and values of the prompt alone. So does who
is answered silently; where that is what everything is to be, and latents are tokens, the silent
answer takes the direct one's place behind the prompt and there is one prefill and no more.

Shape legend:
  B = prompts in the batch, H = hidden size, Y = layers, K = key-value heads, L = tokens of a
  prompt, D = head size, A = actions: direct, reason, and silent where a version has learnt it
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from embedder.content import Answer, Content, Encoding, Failure, Policy, Side, chosen_action
from embedder.model.backbone import Backbone
from embedder.prompting.answers import direct_answer, silent_answer
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample

NOT_FINITE = ArithmeticError("the model's vector is not finite; look at its weights and dtype")


@dataclass(frozen=True, slots=True)
class Gated:
    """A content behind the gate."""

    row: int
    content: Content
    answer: Answer
    """The direct or silent encoding; the direct one stands in where reasoning comes to nothing."""

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

    may_be_silent: bool = False
    """Whether the version has a silent mode on this side."""

    theta: float | None = None
    """Policy `auto` reasons from this probability on; None: the version's own."""


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


@dataclass(frozen=True, slots=True)
class _Prefilled:
    """What one prefill of a batch gives."""

    gates: list[list[float]]
    """Of each prompt the probabilities of `direct`, `reason` and perhaps `silent`."""

    vectors_BH: torch.Tensor
    """Of the answer behind the prompts."""

    ends: list[int]
    """Tokens of each prompt, without the answer."""

    positions_B: torch.Tensor
    """Rotary position of the token after each prompt."""

    past_Y2BKLD: torch.Tensor | None
    """Keys and values, where they are kept; those of a prompt stand before its end."""


class Gate:
    """Prefills prompts, and decides who reasons."""

    def __init__(self, backbone: Backbone, inputs: Inputs, *, theta: float) -> None:
        """Of one model version.

        Args:
            backbone: the model.
            inputs: its tokenizer.
            theta: of the version; see `embedder.content.chosen_action`.
        """
        self._backbone, self._inputs, self._theta = backbone, inputs, theta

    @torch.inference_mode()
    def decide(
        self,
        rows: Sequence[tuple[int, Content, Sample]],
        *,
        policy: Policy,
        keep_past: bool,
        may_be_silent: bool = False,
        theta: float | None = None,
    ) -> list[Gated]:
        """Encode a batch directly or silently and decide who reasons; those that do come last.

        Args:
            rows: each with its number and its prompt, up to where the gate token goes.
            policy: `auto` lets the gate decide, the others overrule it.
            keep_past: keep the keys and values of the prompts that reason.
            may_be_silent: whether the gate chooses among three actions; `silent` needs that.
            theta: in place of the version's own.
        """
        theta = self._theta if theta is None else theta
        answer = self._answer(policy)
        is_kept = keep_past and policy in ("auto", "always")
        read = self._prefill(
            [sample for _, _, sample in rows],
            answer,
            num_actions=3 if may_be_silent else 2,
            keep_past=is_kept or (may_be_silent and policy == "auto") or not answer,
        )
        actions = [
            chosen_action(gate[1], sum(gate[2:], 0.0), policy=policy, theta=theta)
            for gate in read.gates
        ]
        is_read = bool(answer) and policy == "silent"
        silent = [] if is_read else [place for place, one in enumerate(actions) if one == "silent"]
        vectors_BH = self._with_silent(read, silent).cpu().numpy()
        gated = []
        for place, (row, content, _) in enumerate(rows):
            if not np.isfinite(vectors_BH[place]).all():
                gated.append(Gated(row, content, Failure(NOT_FINITE)))
                continue
            encoding = Encoding(
                vectors_BH[place],
                "silent" if actions[place] == "silent" else "direct",
                read.gates[place][1],
                silent_probability=sum(read.gates[place][2:], 0.0),
            )
            if actions[place] != "reason":
                gated.append(Gated(row, content, encoding))
                continue
            kept = self._past(read, place) if is_kept else None
            position = int(read.positions_B[place])
            gated.append(Gated(row, content, encoding, True, kept, position))
        return sorted(gated, key=lambda one: one.reasons)

    def _answer(self, policy: Policy) -> tuple[int, ...]:
        """Return what is read behind the prompts; nothing where silent steps follow for all."""
        if policy != "silent":
            return direct_answer(self._inputs)
        assert self._backbone.silent is not None
        num_tokens = self._backbone.silent.num_tokens
        return silent_answer(self._inputs, num_tokens=num_tokens) if num_tokens else ()

    def _prefill(
        self,
        samples: Sequence[Sample],
        answer: tuple[int, ...],
        *,
        num_actions: int,
        keep_past: bool,
    ) -> _Prefilled:
        backbone = self._backbone
        prompts = self._inputs.prompts(
            [sample.extended(answer) for sample in samples], device=backbone.device
        )
        past = backbone.text.empty_past(prompts) if keep_past else None
        ends = torch.tensor(prompts.lengths, device=backbone.device)
        gate_B = ends - len(answer) - 1
        read_BA = torch.stack([gate_B, *(ends - back for back in backbone.read_back)], dim=1)
        states_BAH = backbone.prefill(prompts, read_BA, past_Y2BKLD=past)
        return _Prefilled(
            self._probabilities(states_BAH[:, 0], num_actions=num_actions).tolist(),
            backbone.vectors(states_BAH[:, 1:]),
            [length - len(answer) for length in prompts.lengths],
            prompts.positions_3BL[0].gather(1, gate_B[:, None])[:, 0] + 1,
            past,
        )

    def _with_silent(self, read: _Prefilled, places: list[int]) -> torch.Tensor:
        """Return [B, H] the vectors, those at some places being of the silent answer."""
        if not places:
            return read.vectors_BH
        backbone = self._backbone
        assert backbone.silent is not None
        assert read.past_Y2BKLD is not None
        states_BCH = backbone.silent_states(
            silent_answer(self._inputs, num_tokens=backbone.silent.num_tokens),
            read.past_Y2BKLD[:, :, places],
            torch.tensor(read.ends, device=backbone.device)[places],
            read.positions_B[places],
        )
        vectors_BH = read.vectors_BH.clone()
        vectors_BH[places] = backbone.vectors(states_BCH[:, [-back for back in backbone.read_back]])
        return vectors_BH

    def _past(self, read: _Prefilled, place: int) -> torch.Tensor:
        assert read.past_Y2BKLD is not None
        return read.past_Y2BKLD[:, :, place, :, : read.ends[place]].clone()

    def _probabilities(self, states_BH: torch.Tensor, *, num_actions: int) -> torch.Tensor:
        """Return [B, A] the probabilities of the actions."""
        token_ids = self._inputs.gate_ids[:num_actions]
        return torch.softmax(self._backbone.logits(states_BH, token_ids).float(), dim=-1)
