"""Joint training's steps a second against the plain way: two forwards of transformers a side.

    OMP_NUM_THREADS=1 python bench/joint.py

Both take the same losses of the same 64 bazaar examples with nano's weights: direct and reasoned
embeddings of both sides, contrast in and across modes, next words. The gradients must agree before
a time is reported. Rounds alternate, the best of each counts; `cpu_ratio` compares processor
seconds, which other jobs on the machine disturb less. `kept` is ours with the vision encoder left
alone and its features kept.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from plain_transformers import plain_states

from embedder.content import Content
from embedder.finetune.data.pairs import Pair, false_negatives
from embedder.finetune.records import WeightedRationale
from embedder.finetune.training.cached_forward import CachedForward
from embedder.finetune.training.config import JointLossConfig
from embedder.finetune.training.image_features import ImageFeatureCache
from embedder.finetune.training.joint_loss import JointLoss, SampledExample
from embedder.finetune.training.losses import matryoshka_info_nce
from embedder.model.backbone import Backbone
from embedder.model.checkpoint import load
from embedder.nano.curriculum import curriculum_pairs
from embedder.prompting.answers import rationale_answer
from embedder.prompting.inputs import Inputs

OBJECTIVE = JointLossConfig()
DIMS = (32, 64, 128)


def bazaar_examples(num_examples: int) -> list[SampledExample]:
    """Return examples as nano's own training draws them, with their right rationales."""
    return [
        SampledExample(
            Pair(one.query, one.item, str(number), one.product.name),
            WeightedRationale(one.query_rationale, one.query_summary),
            WeightedRationale(one.item_rationale, one.item_summary),
        )
        for number, one in enumerate(curriculum_pairs(num_examples, seed=0, step=0))
    ]


class PlainStep:
    """What a training without any of our shortcuts does."""

    def __init__(self, backbone: Backbone, inputs: Inputs, instructions: tuple[str, str]) -> None:
        self._backbone, self._inputs, self._instructions = backbone, inputs, instructions

    def backward(self, batch: list[SampledExample]) -> None:
        """Add the batch's gradients to the parameters'."""
        query, target = (
            self._side([x.pair.query for x in batch], [x.query_rationale for x in batch], 0),
            self._side([x.pair.target for x in batch], [x.target_rationale for x in batch], 1),
        )
        mask = false_negatives([x.pair for x in batch])
        weights = {(0, 0): 1.0, (1, 1): 1.0, (1, 0): 0.5, (0, 1): 0.5}
        loss = sum(
            weight
            * matryoshka_info_nce(
                query[one],
                target[other],
                dims=DIMS,
                contrastive_temperature=OBJECTIVE.contrastive_temperature,
                is_false_negative_BN=mask,
                false_negative_margin=OBJECTIVE.false_negative_margin,
            )
            for (one, other), weight in weights.items()
        )
        surprises = torch.cat([query[2], target[2]])
        (loss + surprises.mean()).backward()

    def _side(
        self, contents: list[Content], rationales: list[WeightedRationale], side: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return direct and reasoned vectors, and the next-token loss of every word."""
        ids, backbone = self._inputs, self._backbone
        samples = [ids.sample(content, self._instructions[side]) for content in contents]
        answers = [
            rationale_answer(ids, rationale.text, rationale.summary) for rationale in rationales
        ]
        direct = [sample.extended((ids.direct_id, ids.emb_id)) for sample in samples]
        reasoned = [
            sample.extended(answer) for sample, answer in zip(samples, answers, strict=True)
        ]
        states = plain_states(backbone, ids, direct)[:, -1]
        reasoned_states = plain_states(backbone, ids, reasoned)
        surprises = [
            F.cross_entropy(
                backbone.logits(reasoned_states[row, -len(answer) : -1]),
                torch.tensor(answer[1:]),
                reduction="none",
            )
            for row, answer in enumerate(answers)
        ]
        vectors = (F.normalize(x, dim=-1) for x in (states, reasoned_states[:, -1]))
        return *vectors, torch.cat(surprises)


def gradient(backbone: Backbone, step: Callable[[], object]) -> torch.Tensor:
    """Return all gradients of one step, one after the other; cleared again."""
    step()
    parameters = [p for p in backbone.parameters() if p.requires_grad]
    found = torch.cat([p.grad.flatten() for p in parameters])
    backbone.zero_grad()
    return found


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds")
    parser.add_argument("--examples", type=int, default=64, help="examples a step")
    options = parser.parse_args()
    batch = bazaar_examples(options.examples)
    nano = load("nano")
    manifest, inputs = nano.manifest, nano.inputs
    checkpoints = {name: copy.deepcopy(nano.backbone) for name in ("rival", "ours", "kept")}
    for backbone in checkpoints.values():
        backbone.requires_grad_(True)
    checkpoints["kept"].model.model.visual.requires_grad_(False)
    plain = PlainStep(
        checkpoints["rival"], inputs, (manifest.query_instruction, manifest.item_instruction)
    )
    steps: dict[str, Callable[[], object]] = {"rival": lambda: plain.backward(batch)}
    for name in ("ours", "kept"):
        features = ImageFeatureCache(nano.backbone, inputs) if name == "kept" else None
        model = CachedForward(checkpoints[name], inputs, image_features=features)
        objective = JointLoss(model, replace(manifest, dims=DIMS), OBJECTIVE)
        steps[name] = lambda objective=objective: objective.backward(batch)
    whole = gradient(checkpoints["rival"], steps["rival"])
    own = gradient(checkpoints["ours"], steps["ours"])
    torch.testing.assert_close(own / whole.norm(), whole / whole.norm(), atol=1e-5, rtol=0)
    wall, cpu = dict.fromkeys(steps, float("inf")), dict.fromkeys(steps, float("inf"))
    for _ in range(options.rounds):
        for name, step in steps.items():
            started = time.perf_counter(), time.process_time()
            step()
            wall[name] = min(wall[name], time.perf_counter() - started[0])
            cpu[name] = min(cpu[name], time.process_time() - started[1])
            checkpoints[name].zero_grad()
    print(
        json.dumps(
            {
                "unit": "steps/s",
                **{name: round(1 / seconds, 2) for name, seconds in wall.items()},
                "ratio": round(wall["rival"] / wall["ours"], 2),
                "kept_ratio": round(wall["rival"] / wall["kept"], 2),
                "cpu_ratio": round(cpu["rival"] / cpu["ours"], 2),
                "cpu_seconds": {name: round(seconds, 3) for name, seconds in cpu.items()},
                "limit": None,
            }
        )
    )


if __name__ == "__main__":
    main()
