"""Forward pass over prompts with all of their answers: direct and reasoned, or many rollouts.

The answers of a prompt stand behind it one after the other. Each sees the prompt and itself, none
of the others, and its positions go on from the prompt's, so that every state is that of the answer
alone behind the prompt, while the prompt is computed once. (UME-R1 shares the prompt as well, by an
embedding token inside of it, which the reasoning then sees; here the modes do not see each other.)

Shape legend:
  B = prompts in the batch, L = longest prompt with its answers, A = places read per prompt,
  H = hidden size, N = answers in the batch, T = tokens of reasoned answers behind the gate,
  R = states of a vector
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from embedder.model.backbone import Backbone
from embedder.model.vision_encoder import ImageFeatures
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample


@dataclass(frozen=True, slots=True)
class PromptWithAnswers:
    """A prompt and what may follow it."""

    sample: Sample
    """Ends where the gate token goes."""

    answers: tuple[tuple[int, ...], ...]
    """Tokens of each, from the gate token to the embedding token."""


@dataclass(frozen=True, slots=True)
class ForwardOutput:
    """What a forward pass over a batch gives; answers are counted through, prompt by prompt."""

    gate_B2: torch.Tensor
    """Logits of `direct` and `reason`."""

    vectors_NH: torch.Tensor
    """The embedding of each answer, L2-normalised, float32."""

    token_states_TH: torch.Tensor
    """The state that predicts each of those tokens; empty where they are not read."""

    token_ids_T: torch.Tensor
    """Ids of the tokens."""

    answer_T: torch.Tensor
    """The answer of each token."""


def forward(
    backbone: Backbone,
    inputs: Inputs,
    batch: Sequence[PromptWithAnswers],
    *,
    images: ImageFeatures | None = None,
    with_tokens: bool = True,
) -> ForwardOutput:
    """Return the embeddings, gate logits and token states of prompts with their answers.

    They come with their graph unless grad mode is off.

    Args:
        backbone: the model; in bfloat16 on a GPU, whatever its weights are in.
        inputs: its tokenizer.
        batch: at least one prompt, each with at least one answer.
        images: features of the batch's images; computed when not given.
        with_tokens: also read the states behind the tokens of reasoned answers.
    """
    device = backbone.device
    layout = _layout(batch, backbone, reason_id=inputs.reason_id if with_tokens else None)
    strung = [one.sample.extended([t for answer in one.answers for t in answer]) for one in batch]
    prompts = inputs.prompts(strung, device=device)
    branch_BL, shift_BL = _branches(batch, longest=prompts.input_ids_BL.shape[1])
    moved_3BL = prompts.positions_3BL - torch.from_numpy(shift_BL).to(device)
    is_single = branch_BL.max() == 1
    with half_precision(device):
        states_BAH = backbone.prefill(
            replace(prompts, positions_3BL=moved_3BL),
            torch.tensor(layout.padded_places(), device=device),
            images=images,
            sees_BLL=None if is_single else _sees(torch.from_numpy(branch_BL).to(device)),
        )
        gate_B2 = backbone.logits(states_BAH[:, 0])[:, inputs.gate_ids]

    def states(slots: Sequence[tuple[int, int]]) -> torch.Tensor:
        rows, columns = torch.tensor(slots, dtype=torch.long, device=device).view(-1, 2).T
        return states_BAH[rows, columns]

    read_NRH = states(layout.ends).view(-1, len(backbone.read_back), states_BAH.shape[2])
    return ForwardOutput(
        gate_B2.float(),
        backbone.vectors(read_NRH),
        states(layout.before),
        torch.tensor(layout.token_ids, dtype=torch.long, device=device),
        torch.tensor(layout.owners, dtype=torch.long, device=device),
    )


def token_logits(backbone: Backbone, output: ForwardOutput) -> torch.Tensor:
    """Return [T, V] float32 logits that predict the output's tokens; V is the vocabulary."""
    with half_precision(backbone.device):
        return backbone.logits(output.token_states_TH).float()


def half_precision(device: torch.device) -> torch.autocast:
    """Return autocast to bfloat16 on a GPU; a CPU is far slower in it than in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


@dataclass(slots=True)
class _Layout:
    """What is read of a batch, and as what."""

    places: list[list[int]] = field(default_factory=list)
    """Of each prompt with its answers, the tokens whose states are read; the gate's first."""

    ends: list[tuple[int, int]] = field(default_factory=list)
    """Row and number among its places of the R tokens that each answer's vector is read from."""

    before: list[tuple[int, int]] = field(default_factory=list)
    """The same of each token whose state predicts a read one."""

    token_ids: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    def padded_places(self) -> list[list[int]]:
        """Return [B, A] the places, the prompt's end filling up what is shorter."""
        width = max(map(len, self.places))
        return [[*row, *[row[0]] * (width - len(row))] for row in self.places]


def _layout(
    batch: Sequence[PromptWithAnswers], backbone: Backbone, *, reason_id: int | None
) -> _Layout:
    """Lay out what is read; with a `reason_id`, answers that begin with it token by token."""
    layout, number = _Layout(), 0
    for row, one in enumerate(batch):
        end = len(one.sample)
        places = [end - 1]
        for answer in one.answers:
            is_reasoned = answer[0] == reason_id
            ends = [len(answer) - back for back in backbone.read_back]
            read = sorted({*ends, *range(len(answer) * is_reasoned)})
            slot_of = {offset: len(places) + slot for slot, offset in enumerate(read)}
            places += [end + offset for offset in read]
            layout.ends += [(row, slot_of[offset]) for offset in ends]
            if is_reasoned:
                layout.before += [(row, slot_of[offset]) for offset in range(len(answer) - 1)]
                layout.token_ids += answer[1:]
                layout.owners += [number] * (len(answer) - 1)
            end, number = end + len(answer), number + 1
        layout.places.append(places)
    return layout


def _branches(batch: Sequence[PromptWithAnswers], *, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return [B, L] each token's answer from 1, 0 in the prompt; [B, L] how far it is moved."""
    branch_BL = np.zeros((len(batch), longest), dtype=np.int64)
    shift_BL = np.zeros_like(branch_BL)
    for row, one in enumerate(batch):
        start = end = len(one.sample)
        for number, answer in enumerate(one.answers, start=1):
            branch_BL[row, end : end + len(answer)] = number
            shift_BL[row, end : end + len(answer)] = end - start
            end += len(answer)
    return branch_BL, shift_BL


def _sees(branch_BL: torch.Tensor) -> torch.Tensor:
    """Return [B, L, L], True where the token of a row attends to the token of a column."""
    own_BLL = branch_BL[:, :, None] == branch_BL[:, None, :]
    return ((branch_BL == 0)[:, None, :] | own_BLL).tril()
