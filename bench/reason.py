"""Reasoned encoding against `generate` and a second forward, with the same weights.

    python bench/reason.py
    python bench/reason.py --shape qwen3-vl-2b --device cuda  # random weights: shaped_reason.py

Ours is one prefill and a continuous batch, the vector read from the decode states. The rival sorts
by length, lets transformers' `generate` write the rationales in batches (its best of four sizes
counts), and runs a full forward over prompt and rationale for the vector. Rationales must be equal
and vectors agree to 1e-5 before a time is reported. Rounds alternate; the best of each counts.
`cpu_ratio` compares processor seconds instead of seconds.
"""

import argparse
import json
import os
import random

import numpy as np
import torch
from generate_rival import Reasoned, asked_to_reason, generate_then_forward
from shaped_reason import reasoned
from stopwatch import Stopwatch

from catalog.bazaar import questions
from catalog.bazaar.world import random_product
from embedder.content import Content, Encoding
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import Checkpoint, load
from embedder.prompting.answers import read_rationale


def asked(num_queries: int, *, seed: int) -> list[Content]:
    """Return questions of the bazaar, of all tiers."""
    rng = random.Random(seed)
    return [
        Content(questions.ask(random_product(rng), questions.TIERS[i % 3], rng).text)
        for i in range(num_queries)
    ]


def check(checkpoint: Checkpoint, ours: list[Encoding], theirs: Reasoned) -> None:
    """Stop unless both said the same and came to the same vectors."""
    inputs = checkpoint.inputs
    for row, encoding in enumerate(ours):
        tokens, vector = theirs[row]
        assert encoding.rationale_tokens == len(tokens) - 1, row
        said = read_rationale(inputs, tokens[:-1])
        assert (encoding.rationale, encoding.summary) == said, row
        np.testing.assert_allclose(encoding.vector, vector, atol=1e-5)


def main() -> None:
    """Measure as the command line says, and print it."""
    parser = argparse.ArgumentParser(description="Measure reasoned encoding.")
    parser.add_argument("--queries", type=int, default=384, help="questions to reason about")
    parser.add_argument("--rounds", type=int, default=3, help="alternations; the best counts")
    parser.add_argument("--shape", help="a published model's, with random weights")
    parser.add_argument("--device", default="cpu", help="of the shape")
    options = parser.parse_args()
    if options.shape:
        print(json.dumps(reasoned(options.shape, options.device, options.queries, options.rounds)))
        return
    checkpoint, contents = load("nano"), asked(options.queries, seed=0)
    sizes = [size for size in (16, 32, 64, 128) if size <= options.queries]
    models = {
        slots: MMEmbR1(checkpoint, EmbedderConfig(policy="always", num_slots=slots))
        for slots in (None, 64, 128)
    }
    watch = Stopwatch()
    for _ in range(options.rounds):
        for size in sizes:
            for slots, model in models.items():
                name = "ours" if slots is None else f"ours, {slots} slots"
                ours = watch.time(name, lambda model=model: model.encode_query(contents))
            theirs = watch.time(
                f"batch {size}",
                lambda size=size: generate_then_forward(
                    checkpoint,
                    asked_to_reason(checkpoint, contents, checkpoint.manifest.query_instruction),
                    batch_size=size,
                ),
            )
            check(checkpoint, ours, theirs)
    batches = [f"batch {size}" for size in sizes]
    best, best_cpu = (min(batches, key=seconds.get) for seconds in (watch.wall, watch.cpu))
    rates = {name: round(options.queries / seconds, 1) for name, seconds in watch.wall.items()}
    tokens = sum(encoding.rationale_tokens + 1 for encoding in ours)
    print(
        json.dumps(
            {
                "unit": "queries/s",
                "ours": rates["ours"],
                "rival": rates[best],
                "ratio": round(watch.wall[best] / watch.wall["ours"], 2),
                "cpu_ratio": round(watch.cpu[best_cpu] / watch.cpu["ours"], 2),
                "limit": None,
                "rival_settings": best,
                "tokens_per_s": round(tokens / watch.wall["ours"]),
                "rates": rates,
                "threads": torch.get_num_threads(),
                "load": round(os.getloadavg()[0], 1),
            }
        )
    )


if __name__ == "__main__":
    main()
