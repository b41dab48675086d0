"""Train nano from scratch: `python -m embedder.nano.training --out FOLDER`.

One model learns at once to embed directly, to reason in the bazaar's language and then embed, to
name what a picture shows, and to open its turn with the right gate token. Left out, for the
fine-tuning stage to add: sampled rationales and their counterfactual selection (every rationale
here is the scripted, right one) and the gate's RL (here it copies a label: questions that name all
values are answered directly, the others are reasoned about).

Shape legend: B = lessons in the batch, L = longest sequence, D = embedding dimension
"""

import argparse
import json
import logging
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from embedder.backbone import Backbone
from embedder.inputs import Batch, Inputs, Sample
from embedder.losses import matryoshka_info_nce
from embedder.nano import architecture
from embedder.nano.checkpoint import save_checkpoint
from embedder.nano.curriculum import Lesson, false_negatives, lessons
from embedder.nano.evaluation import heldout_hits
from embedder.template import reasoned_answer

logger = logging.getLogger(__name__)

DIMS = (32, 64, 128)
CONTRASTIVE_TEMPERATURE = 0.05
GATE_WEIGHT = 0.3
IGNORE = -100


class Trainer:
    """Model, optimiser and schedule; one call of `step` per batch of lessons."""

    def __init__(self, *, num_steps: int, batch_size: int, learning_rate: float, seed: int) -> None:
        self.num_steps, self.batch_size, self.seed = num_steps, batch_size, seed
        self.learning_rate = learning_rate
        tokenizer = architecture.build_tokenizer(seed)
        model = architecture.build_model(tokenizer, seed)
        image_processor = architecture.build_image_processor()
        self.inputs = Inputs(tokenizer, image_processor, max_text_tokens=96)
        self.backbone = Backbone(model)
        decayed = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
            lr=learning_rate,
            betas=(0.9, 0.98),
        )

    def rate_at(self, step: int) -> float:
        """Learning rate: 200 steps of warm-up, then a cosine to a twentieth."""
        if step < 200:
            return self.learning_rate * (step + 1) / 200
        progress = (step - 200) / max(1, self.num_steps - 200)
        return self.learning_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)

    def step(self, step: int) -> dict[str, float]:
        """Learns one batch and returns its losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate_at(step)
        losses = self.losses(lessons(self.batch_size, seed=self.seed, step=step))
        total = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.backbone.parameters(), 1.0)
        self.optimizer.step()
        return {name: round(loss.item(), 4) for name, loss in losses.items()}

    def losses(self, batch: list[Lesson]) -> dict[str, torch.Tensor]:
        """The parts of the loss, weighted; their sum is what is minimised."""
        query = [self.inputs.sample(x.query, architecture.QUERY_INSTRUCTION) for x in batch]
        item = [self.inputs.sample(x.item, architecture.ITEM_INSTRUCTION) for x in batch]
        query_answers = [reasoned_answer(x.query_rationale, x.query_summary) for x in batch]
        item_answers = [reasoned_answer(x.item_rationale, x.item_summary) for x in batch]
        needs_reason = torch.tensor([x.needs_reason for x in batch])
        query_direct, query_reasoned, query_words, query_gate = self._side(
            query, query_answers, needs_reason
        )
        item_direct, item_reasoned, item_words, item_gate = self._side(
            item, item_answers, torch.zeros_like(needs_reason)
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
        self, samples: list[Sample], answers: list[str], needs_reason: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Direct and reasoned vectors [B, D], next-token loss and gate loss of one side."""
        ids = self.inputs
        direct = ids.batch([sample.extended((ids.direct_id, ids.emb_id)) for sample in samples])
        answer_tokens = [ids.tokens(answer) for answer in answers]
        reasoned = ids.batch(
            [sample.extended(tokens) for sample, tokens in zip(samples, answer_tokens, strict=True)]
        )
        pictures = self.backbone.picture_features(direct)
        states = self.backbone.states(direct, pictures=pictures)
        gate_logits = self.backbone.logits(states[:, -3])
        gate_targets = torch.where(needs_reason, ids.reason_id, ids.direct_id)
        reasoned_states = self.backbone.states(reasoned, pictures=pictures)
        return (
            F.normalize(states[:, -1], dim=-1),
            F.normalize(reasoned_states[:, -1], dim=-1),
            self._words(reasoned, reasoned_states, answer_tokens),
            F.cross_entropy(gate_logits, gate_targets),
        )

    def _words(
        self, batch: Batch, states: torch.Tensor, answer_tokens: list[list[int]]
    ) -> torch.Tensor:
        """Next-token loss over the answers; the gate token itself is learnt by the gate's loss."""
        longest = max(len(tokens) for tokens in answer_tokens)
        tail = states[:, -longest:-1]
        labels = torch.full(tail.shape[:2], IGNORE)
        for row, tokens in enumerate(answer_tokens):
            labels[row, longest - len(tokens) :] = torch.tensor(tokens[1:])
        return F.cross_entropy(
            self.backbone.logits(tail).flatten(0, 1), labels.flatten(), ignore_index=IGNORE
        )

    def save_state(self, folder: Path, step: int) -> None:
        """Everything that is needed to go on after an interruption, without pickle."""
        tensors = {f"model.{name}": t for name, t in self.backbone.model.state_dict().items()}
        tensors.pop("model.lm_head.weight", None)  # tied to the embeddings
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": t for name, t in state.items()}
        temporary = folder / "state.tmp"
        save_file({n: t.contiguous() for n, t in tensors.items()}, temporary, {"step": str(step)})
        temporary.replace(folder / "state.safetensors")

    def load_state(self, folder: Path) -> None:
        """Takes up where `save_state` left off."""
        tensors = load_file(folder / "state.safetensors")
        weights = {
            n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")
        }
        self.backbone.model.load_state_dict(weights, strict=False)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, field = name.split(".")
                state.setdefault(int(index), {})[field] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})


def train(trainer: Trainer, folder: Path, *, eval_every: int) -> None:
    """Runs or continues a training; leaves `log.jsonl`, the state, at the end the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    first = 0
    if (folder / "state.safetensors").exists():
        trainer.load_state(folder)
        first = 1 + max(json.loads(line)["step"] for line in log.read_text().splitlines())
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
        trainer.save_state(folder, step)
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
    parser.add_argument("--seed", type=int, default=0, help="decides weights and lessons")
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
