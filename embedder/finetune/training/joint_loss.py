"""Joint loss: contrast in and across both modes, next tokens, and the gate.

MMEmb-R1 (arXiv 2604.06156) is said to train with three losses at once: contrast of reasoned
embeddings, contrast of direct ones, next-token loss on the selected rationales. The formulas are
not public; the sum and its weights here are our reconstruction, and the contrast across modes is
our addition, for at test time a reasoned query meets direct items. Each contrast is
`losses.matryoshka_info_nce`; the next-token loss is that of supervised fine-tuning (TRL's trainer
with loss on completions only); the gate's is cross-entropy with label smoothing, ours.

Shape legend:
  B = examples, H = their hard negatives, N = 2 B + H entries: queries, their targets, negatives;
  D = embedding dimension, M = 2 modes: direct, reasoned
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from embedder.content import Content
from embedder.finetune.data.pairs import Pair, false_negatives, foreign_negatives
from embedder.finetune.records import TrainingExample, WeightedRationale
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.config import JointLossConfig
from embedder.finetune.training.distributed import Processes
from embedder.finetune.training.forward import PromptWithAnswers, token_logits
from embedder.finetune.training.gradient_cache import Losses, cached_backward
from embedder.finetune.training.losses import matryoshka_info_nce
from embedder.prompting.answers import direct_answer, rationale_answer
from embedder.version import Manifest


@dataclass(frozen=True, slots=True)
class SampledExample:
    """An example with the rationales that this step reads."""

    pair: Pair
    query_rationale: WeightedRationale | None = None
    target_rationale: WeightedRationale | None = None


def drawn(example: TrainingExample, rng: random.Random) -> SampledExample:
    """Return the example with one rationale of each side that has any, drawn by weight."""
    query_rationale, target_rationale = (
        rng.choices(rationales, [rationale.weight for rationale in rationales])[0]
        if rationales
        else None
        for rationales in (example.query_rationales, example.target_rationales)
    )
    return SampledExample(example.pair, query_rationale, target_rationale)


@dataclass(frozen=True, slots=True)
class Entry:
    """One content of a batch and what is read behind it."""

    content: Content
    instruction: str
    answers: tuple[tuple[int, ...], ...]
    """The direct one, the reasoned one, or both in this order."""

    should_reason: bool
    gate_share: float
    """Of the gate's loss, in [0, 1]; 0 for a hard negative."""


class JointLoss:
    """The joint loss of batches of examples, and its gradients."""

    def __init__(
        self,
        model: CachedForward,
        manifest: Manifest,
        config: JointLossConfig,
        *,
        processes: Processes | None = None,
    ) -> None:
        """Take what the loss of one model needs.

        Args:
            model: reads with the model.
            manifest: its instructions and Matryoshka prefixes.
            config: the losses.
            processes: the processes that share each batch; None: this one alone.
        """
        self._model, self._manifest, self._config = model, manifest, config
        self._processes = processes or Processes()
        hidden_size = model.backbone.model.config.get_text_config().hidden_size
        self._dims = manifest.dims or (hidden_size,)

    def backward(
        self, examples: Sequence[SampledExample], *, swapped: bool = False
    ) -> dict[str, float]:
        """Add the gradients of the batch to the parameters', and return its weighted losses.

        Args:
            examples: of one source, the same on every process.
            swapped: the targets are the queries. Hard negatives are targets of the given queries,
                so they are left out then.
        """
        entries = self._entries(examples, swapped=swapped)
        num_tokens = sum(
            len(answer) - 1
            for entry in entries
            for answer in entry.answers
            if answer[0] == self._model.inputs.reason_id
        )
        return cached_backward(
            entries,
            lambda chunk, with_losses: self._forward(
                chunk, num_tokens=num_tokens, with_losses=with_losses
            ),
            lambda vectors_NMD: self._contrast(examples, vectors_NMD, swapped=swapped),
            chunk_size=self._config.chunk_size,
            processes=self._processes,
        )

    def _entries(self, examples: Sequence[SampledExample], *, swapped: bool) -> list[Entry]:
        """Return queries, then targets, then hard negatives."""
        manifest = self._manifest.for_source(examples[0].pair.source)
        sides = [
            [(x.pair.query, x.query_rationale) for x in examples],
            [(x.pair.target, x.target_rationale) for x in examples],
        ]
        queries, targets = reversed(sides) if swapped else sides
        sided = [
            *((content, manifest.query_instruction, rationale) for content, rationale in queries),
            *((content, manifest.item_instruction, rationale) for content, rationale in targets),
        ]
        num_reasoning = sum(rationale is not None for _, _, rationale in sided)
        num_of = {True: num_reasoning, False: len(sided) - num_reasoning}
        num_kinds = sum(number > 0 for number in num_of.values())
        entries = [
            Entry(
                content,
                instruction,
                self._answers(rationale),
                rationale is not None,
                1 / (num_kinds * num_of[rationale is not None]),
            )
            for content, instruction, rationale in sided
        ]
        negatives = () if swapped else [one for x in examples for one in x.pair.negatives]
        return entries + [
            Entry(one.content, manifest.item_instruction, self._answers(None), False, 0.0)
            for one in negatives
        ]

    def _answers(self, rationale: WeightedRationale | None) -> tuple[tuple[int, ...], ...]:
        inputs = self._model.inputs
        direct = direct_answer(inputs)
        if rationale is None or not self._config.needs_reasoned:
            return (direct,)
        reasoned = rationale_answer(inputs, rationale.text, rationale.summary)
        return (direct, reasoned) if self._config.needs_direct else (reasoned,)

    def _forward(
        self, chunk: Sequence[Entry], *, num_tokens: int, with_losses: bool
    ) -> tuple[torch.Tensor, Losses]:
        """Return [entries, M, D] vectors, a missing mode being the other one; and own losses."""
        config = self._config
        output = self._model.forward(
            [
                PromptWithAnswers(
                    self._model.sample(entry.content, entry.instruction), entry.answers
                )
                for entry in chunk
            ],
            with_tokens=with_losses and config.next_token > 0,
        )
        first = [0]
        for entry in chunk:
            first.append(first[-1] + len(entry.answers))
        modes = [(start, end - 1) for start, end in itertools.pairwise(first)]
        vectors_NMD = output.vectors_NH[torch.tensor(modes)]
        if not with_losses:
            return vectors_NMD, {}
        losses = {}
        if config.next_token and num_tokens:
            logits_TV = token_logits(self._model.backbone, output)
            surprise = F.cross_entropy(logits_TV, output.token_ids_T, reduction="sum")
            losses["next_token"] = config.next_token * surprise / num_tokens
        if config.gate:
            device = vectors_NMD.device
            wanted = torch.tensor([int(entry.should_reason) for entry in chunk], device=device)
            share = torch.tensor([entry.gate_share for entry in chunk], device=device)
            surprise = F.cross_entropy(
                output.gate_B2,
                wanted,
                reduction="none",
                label_smoothing=2 * (1 - config.gate_confidence),  # torch shares it among both
            )
            losses["gate"] = config.gate * (share * surprise).sum()
        return vectors_NMD, losses

    def _contrast(
        self, examples: Sequence[SampledExample], vectors_NMD: torch.Tensor, *, swapped: bool
    ) -> Losses:
        """Return weighted contrastive losses; each a mean over all examples, 0 for the left out."""
        config = self._config
        pairs = [x.pair for x in examples]
        left_out_BN = false_negatives(pairs)
        if not swapped:
            left_out_BN = torch.cat([left_out_BN, foreign_negatives(pairs)], dim=1)
        left_out_BN = left_out_BN.to(vectors_NMD.device)
        query_MBD = vectors_NMD[: len(examples)].unbind(dim=1)
        target_MND = vectors_NMD[len(examples) :].unbind(dim=1)
        everyone = range(len(examples))
        has_query = [row for row in everyone if examples[row].query_rationale is not None]
        has_target = [row for row in everyone if examples[row].target_rationale is not None]
        if swapped:
            has_query, has_target = has_target, has_query
        terms = {
            "direct_direct": (config.direct_direct, 0, 0, list(everyone)),
            "reason_reason": (config.reason_reason, 1, 1, sorted({*has_query, *has_target})),
            "reason_direct": (config.reason_direct, 1, 0, has_query),
            "direct_reason": (config.direct_reason, 0, 1, has_target),
        }
        return {
            name: weight * self._between(query_MBD[one], target_MND[other], left_out_BN, rows)
            for name, (weight, one, other, rows) in terms.items()
            if weight and rows
        }

    def _between(
        self,
        query_BD: torch.Tensor,
        target_ND: torch.Tensor,
        left_out_BN: torch.Tensor,
        rows: list[int],
    ) -> torch.Tensor:
        """Contrast the examples in `rows`; the targets of the others are negatives as well."""
        own = set(rows)
        order = rows + [row for row in range(len(target_ND)) if row not in own]
        loss = matryoshka_info_nce(
            query_BD[rows],
            target_ND[order],
            dims=self._dims,
            contrastive_temperature=self._config.contrastive_temperature,
            is_false_negative_BN=left_out_BN[rows][:, order],
            false_negative_margin=self._config.false_negative_margin,
        )
        return loss * len(rows) / len(query_BD)
