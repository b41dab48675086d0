"""Train nano from scratch: `python -m embedder.nano.training --out FOLDER`.

One model learns at once to embed directly, to reason in the bazaar's language and then embed, to
name what an image shows, and to open its turn with the right gate token. Left out, for the
fine-tuning stage to add: sampled rationales and their counterfactual selection (every rationale
here is the scripted, right one) and the gate's RL (here it copies a label: questions that name all
values are answered directly, the others are reasoned about).

The shipped checkpoint was trained before its gate loss was taken over the gate's two tokens alone;
then it was taken over the whole vocabulary.

Shape legend: B = pairs in the batch, D = embedding dimension
"""

import argparse
import json
import logging
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from embedder.finetune.training.forward import (
    PromptWithAnswers,
    direct_answer,
    forward,
    rationale_answer,
)
from embedder.finetune.training.losses import matryoshka_info_nce
from embedder.finetune.training.optimizer import AveragedAdamW, cosine_rate
from embedder.finetune.training.state import load_state, save_state
from embedder.model.backbone import Backbone
from embedder.nano import architecture
from embedder.nano.checkpoint import save_checkpoint
from embedder.nano.curriculum import CurriculumPair, curriculum_pairs, false_negatives
from embedder.nano.evaluation import heldout_hits
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample

logger = logging.getLogger(__name__)

DIMS = (32, 64, 128)
CONTRASTIVE_TEMPERATURE = 0.05
GATE_WEIGHT = 0.3


class Trainer:
    """Model, optimiser and schedule; one call of `step` per batch of pairs."""

    def __init__(self, *, num_steps: int, batch_size: int, learning_rate: float, seed: int) -> None:
        self.num_steps, self.batch_size, self.seed = num_steps, batch_size, seed
        self.learning_rate = learning_rate
        tokenizer = architecture.build_tokenizer(seed)
        model = architecture.build_model(tokenizer, seed)
        image_processor = architecture.build_image_processor()
        self.inputs = Inputs(tokenizer, image_processor, max_text_tokens=96)
        self.backbone = Backbone(model)
        self.optimizer = AveragedAdamW(
            self.backbone.parameters(), weight_decay=0.05, average_decay=0.0, max_gradient_norm=1.0
        )

    def rate_at(self, step: int) -> float:
        """Learning rate: 200 steps of warm-up, then a cosine to a twentieth."""
        return cosine_rate(
            step,
            peak=self.learning_rate,
            warmup_steps=200,
            num_steps=self.num_steps,
            floor=0.05,
        )

    def step(self, step: int) -> dict[str, float]:
        """Learns one batch and returns its losses."""
        losses = self.losses(curriculum_pairs(self.batch_size, seed=self.seed, step=step))
        torch.stack(list(losses.values())).sum().backward()
        self.optimizer.step(self.rate_at(step))
        return {name: round(loss.item(), 4) for name, loss in losses.items()}

    def losses(self, batch: list[CurriculumPair]) -> dict[str, torch.Tensor]:
        """The parts of the loss, weighted; their sum is what is minimised."""
        needs_reason = torch.tensor([x.needs_reason for x in batch])
        query_direct, query_reasoned, query_words, query_gate = self._side(
            [self.inputs.sample(x.query, architecture.QUERY_INSTRUCTION) for x in batch],
            [(x.query_rationale, x.query_summary) for x in batch],
            needs_reason,
        )
        item_direct, item_reasoned, item_words, item_gate = self._side(
            [self.inputs.sample(x.item, architecture.ITEM_INSTRUCTION) for x in batch],
            [(x.item_rationale, x.item_summary) for x in batch],
            torch.zeros_like(needs_reason),
        )
        mask_BB = false_negatives(batch)

        def contrast(query_BD: torch.Tensor, item_BD: torch.Tensor) -> torch.Tensor:
            return matryoshka_info_nce(
                query_BD,
                item_BD,
                dims=DIMS,
                contrastive_temperature=CONTRASTIVE_TEMPERATURE,
                is_false_negative_BN=mask_BB,
            )

        return {
            "direct_direct": contrast(query_direct, item_direct),
            "reason_direct": contrast(query_reasoned, item_direct),
            "direct_reason": 0.5 * contrast(query_direct, item_reasoned),
            "query_words": query_words,
            "item_words": item_words,
            "gate": GATE_WEIGHT * (query_gate + item_gate),
        }

    def _side(
        self,
        samples: list[Sample],
        rationales: list[tuple[str, str]],
        needs_reason: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Direct and reasoned vectors [B, D], next-token loss and gate loss of one side."""
        batch = [
            PromptWithAnswers(
                sample,
                (direct_answer(self.inputs), rationale_answer(self.inputs, text, summary)),
            )
            for sample, (text, summary) in zip(samples, rationales, strict=True)
        ]
        output = forward(self.backbone, self.inputs, batch)
        return (
            output.vectors_NH[0::2],
            output.vectors_NH[1::2],
            F.cross_entropy(self.backbone.logits(output.token_states_TH), output.token_ids_T),
            F.cross_entropy(output.gate_B2, needs_reason.long()),
        )


def train(trainer: Trainer, folder: Path, *, eval_every: int) -> None:
    """Runs or continues a training; leaves `log.jsonl`, the state, at the end the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    first = 0
    state = folder / "state.safetensors"
    if state.exists():
        first = load_state(state, trainer.optimizer)
        logger.info("continuing at step=%d", first)
    started = time.monotonic()
    sums: dict[str, float] = {}
    for step in range(first, trainer.num_steps):
        for name, value in trainer.step(step).items():
            sums[name] = sums.get(name, 0.0) + value
        if (step + 1) % eval_every and step + 1 < trainer.num_steps:
            continue
        done = (step % eval_every) + 1
        row = {name: round(total / done, 4) for name, total in sums.items()}
        row |= heldout_hits(trainer.backbone, trainer.inputs, num_products=300, seed=trainer.seed)
        row |= {"step": step, "elapsed_s": round(time.monotonic() - started)}
        save_state(state, trainer.optimizer, num_done=step + 1)
        with log.open("a") as file:
            file.write(json.dumps(row) + "\n")
        logger.info("%s", row)
        sums = {}
    save_checkpoint(trainer.backbone.model, trainer.inputs, folder / "checkpoint")


def main() -> None:
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description="Train the nano embedder on the bazaar.")
    parser.add_argument("--out", type=Path, required=True, help="folder for log, state, checkpoint")
    parser.add_argument("--steps", type=int, default=4000, help="optimiser steps")
    parser.add_argument("--batch-size", type=int, default=64, help="query-item pairs a step")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak of the schedule")
    parser.add_argument("--eval-every", type=int, default=100, help="steps between evaluations")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0, help="decides weights and curriculum_pairs")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    trainer = Trainer(
        num_steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )
    train(trainer, options.out, eval_every=options.eval_every)


if __name__ == "__main__":
    main()
