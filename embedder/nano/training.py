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
import logging
from pathlib import Path

import torch
import torch.nn.functional as F

from embedder.finetune.training.adapters import TrainedBackbone
from embedder.finetune.training.config import TrainingConfig
from embedder.finetune.training.forward import PromptWithAnswers, forward
from embedder.finetune.training.loop import Trainer
from embedder.finetune.training.losses import matryoshka_info_nce
from embedder.model.backbone import Backbone
from embedder.nano import architecture
from embedder.nano.checkpoint import save_checkpoint
from embedder.nano.curriculum import CurriculumPair, curriculum_pairs, false_negatives
from embedder.nano.evaluation import heldout_hits
from embedder.prompting.answers import direct_answer, rationale_answer
from embedder.prompting.inputs import Inputs
from embedder.prompting.sample import Sample

DIMS = (32, 64, 128)
CONTRASTIVE_TEMPERATURE = 0.05
GATE_WEIGHT = 0.3


class CurriculumObjective:
    """All that nano learns from a batch of the curriculum; a `loop.Objective`."""

    num_updates = 1

    def __init__(self, backbone: Backbone, inputs: Inputs, *, batch_size: int, seed: int) -> None:
        """Take a nano.

        Args:
            backbone: the model.
            inputs: its tokenizer and image processor.
            batch_size: pairs a step.
            seed: of the curriculum.
        """
        self._backbone, self._inputs = backbone, inputs
        self._batch_size, self._seed = batch_size, seed

    def backward(self, step: int, update: int) -> dict[str, float]:
        """Add the gradients of a step's pairs to the parameters', and return their losses."""
        losses = self.losses(curriculum_pairs(self._batch_size, seed=self._seed, step=step))
        torch.stack(list(losses.values())).sum().backward()
        return {name: loss.item() for name, loss in losses.items()}

    def losses(self, batch: list[CurriculumPair]) -> dict[str, torch.Tensor]:
        """Return the parts of the loss, weighted; their sum is what is minimised."""
        needs_reason = torch.tensor([x.needs_reason for x in batch])
        query_direct, query_reasoned, query_tokens, query_gate = self._side(
            [self._inputs.sample(x.query, architecture.QUERY_INSTRUCTION) for x in batch],
            [(x.query_rationale, x.query_summary) for x in batch],
            needs_reason,
        )
        item_direct, item_reasoned, item_tokens, item_gate = self._side(
            [self._inputs.sample(x.item, architecture.ITEM_INSTRUCTION) for x in batch],
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
            "query_next_token": query_tokens,
            "item_next_token": item_tokens,
            "gate": GATE_WEIGHT * (query_gate + item_gate),
        }

    def _side(
        self,
        samples: list[Sample],
        rationales: list[tuple[str, str]],
        needs_reason: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return direct and reasoned vectors [B, D], next-token loss and gate loss of one side."""
        batch = [
            PromptWithAnswers(
                sample,
                (direct_answer(self._inputs), rationale_answer(self._inputs, text, summary)),
            )
            for sample, (text, summary) in zip(samples, rationales, strict=True)
        ]
        output = forward(self._backbone, self._inputs, batch)
        return (
            output.vectors_NH[0::2],
            output.vectors_NH[1::2],
            F.cross_entropy(self._backbone.logits(output.token_states_TH), output.token_ids_T),
            F.cross_entropy(output.gate_B2, needs_reason.long()),
        )


def nano_config(*, num_steps: int, learning_rate: float, seed: int) -> TrainingConfig:
    """Return the recipe: 200 steps of warm-up, a cosine to a twentieth, the last weights kept."""
    return TrainingConfig(
        num_steps=num_steps,
        learning_rate=learning_rate,
        warmup_steps=200,
        final_rate=0.05,
        average_decay=0.0,
        seed=seed,
    )


def nano_trainer(config: TrainingConfig, *, batch_size: int) -> Trainer[Backbone]:
    """Return the training of a new nano; configuration and curriculum have one seed."""
    inputs = nano_inputs(config.seed)
    backbone = Backbone(architecture.build_model(inputs.tokenizer, config.seed))
    objective = CurriculumObjective(backbone, inputs, batch_size=batch_size, seed=config.seed)
    return Trainer(TrainedBackbone(backbone, inputs, config), config, objective)


def nano_inputs(seed: int) -> Inputs:
    """Return how a new nano reads contents."""
    tokenizer = architecture.build_tokenizer(seed)
    return Inputs(tokenizer, architecture.build_image_processor(), max_text_tokens=96)


def train(trainer: Trainer[Backbone], folder: Path, *, eval_every: int) -> None:
    """Run or continue a training; leave `log.jsonl`, the state and the checkpoint in a folder."""
    inputs = nano_inputs(trainer.config.seed)
    backbone = trainer.train(
        folder,
        save_every=eval_every,
        evaluate=lambda backbone: heldout_hits(
            backbone, inputs, num_products=300, seed=trainer.config.seed
        ),
        stage="nano",
    )
    save_checkpoint(backbone.model, inputs, folder / "checkpoint")


def main() -> None:
    """Run the command line of the recipe."""
    parser = argparse.ArgumentParser(description="Train the nano embedder on the bazaar.")
    parser.add_argument("--out", type=Path, required=True, help="folder for log, state, checkpoint")
    parser.add_argument("--steps", type=int, default=4000, help="optimiser steps")
    parser.add_argument("--batch-size", type=int, default=64, help="query-item pairs a step")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak of the schedule")
    parser.add_argument("--eval-every", type=int, default=100, help="steps between evaluations")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0, help="decides weights and curriculum")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    config = nano_config(
        num_steps=options.steps, learning_rate=options.learning_rate, seed=options.seed
    )
    trainer = nano_trainer(config, batch_size=options.batch_size)
    train(trainer, options.out, eval_every=options.eval_every)


if __name__ == "__main__":
    main()
