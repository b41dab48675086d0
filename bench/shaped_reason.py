"""Reasoned encoding by a model of a published shape, beside `generate` and a second forward.

Weights are random and made on the device; every rationale is as long as the limit allows. The two
sides' rationales and vectors are compared before a time is taken: in bfloat16 a rationale may part
from the rival's where two tokens are nearly alike, so it is told how many are equal, and of those
the vectors are held against each other.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from generate_rival import Reasoned, asked_to_reason, generate_then_forward
from model_work import card_limits, token_bytes, weight_bytes
from plain_transformers import generated
from random_model import TINY, random_checkpoint
from shaped_catalogue import shaped_catalogue
from shaped_encode import MIN_COSINE
from stopwatch import Stopwatch

from embedder.content import Content, Encoding
from embedder.engine.continuous_batch import ContinuousBatch
from embedder.engine.memory import peak_memory_bytes
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import Checkpoint
from embedder.precision import dtype_on
from embedder.prompting.answers import read_rationale

RIVAL_SIZES = {"cpu": (16, 64), "cuda": (256,)}
"""A GPU's time does not suffice for several: `generate` plans the attention of every step anew."""

MAX_NEW_TOKENS = {TINY: 8}
"""128 of the others."""

ALONE_TOKENS, ALONE_TIMES = 64, 5


class Steps:
    """Seconds and tokens kept of every step of the decodings within it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.kept: list[int] = []

    def counting(self) -> Any:
        """Return the context within which steps are counted."""
        advance = ContinuousBatch.advance

        def counted(batch: ContinuousBatch) -> Any:
            began = time.perf_counter()
            finished = advance(batch)
            self.seconds.append(time.perf_counter() - began)
            self.kept.append(sum(batch._cache._lengths))
            return finished

        return patch.object(ContinuousBatch, "advance", counted)


def reasoned(shape: str, device: str, num_items: int, rounds: int) -> dict[str, Any]:
    """Measure, and return what is told of it."""
    dtype, limit = dtype_on(device), MAX_NEW_TOKENS.get(shape, 128)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = random_checkpoint(
            shape, Path(folder), device=device, dtype=dtype, max_new_tokens=limit
        )
        model = MMEmbR1(checkpoint, EmbedderConfig(device=device, policy="always"))
    contents = shaped_catalogue(num_items, seed=0, enlarged=shape != TINY)
    samples = asked_to_reason(checkpoint, contents, checkpoint.manifest.item_instruction)
    watch, steps = Stopwatch(), Steps()
    ours = model.encode_items(contents)  # whatever is chosen for a shape, is by now
    for round_number in range(rounds):
        with steps.counting():
            watch.time("ours", lambda: model.encode_items(contents))
        for size in RIVAL_SIZES[torch.device(device).type]:
            theirs = watch.time(
                f"batch {size}",
                lambda size=size: generate_then_forward(checkpoint, samples, batch_size=size),
            )
            if round_number == 0:
                equal = equal_share(checkpoint, ours, theirs, least=MIN_COSINE[dtype])
    best = min((name for name in watch.wall if name != "ours"), key=watch.wall.__getitem__)
    tokens = sum(encoding.rationale_tokens + 1 for encoding in ours)
    return {
        "shape": shape,
        "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
        "dtype": dtype,
        "equal_rationales": round(equal, 4),
        "items_per_s": round(num_items / watch.wall["ours"], 2),
        "tokens_per_s": round(tokens / watch.wall["ours"]),
        "rival_items_per_s": round(num_items / watch.wall[best], 2),
        "rival_settings": best,
        "ratio": round(watch.wall[best] / watch.wall["ours"], 2),
        "step_ms": round(1e3 * statistics.median(steps.seconds), 2),
        "bandwidth_share": bandwidth_share(checkpoint, steps),
        "peak_bytes": peak_memory_bytes(),
        "alone": alone(checkpoint, device),
    }


def equal_share(
    checkpoint: Checkpoint, ours: list[Encoding], theirs: Reasoned, *, least: float
) -> float:
    """Return the share of equal rationales; stop where equal ones have unlike vectors."""
    equal = 0
    for row, encoding in enumerate(ours):
        tokens, vector = theirs[row]
        said = read_rationale(checkpoint.inputs, tokens[:-1])
        if (encoding.rationale, encoding.summary) == said:
            equal += 1
            assert encoding.vector @ vector > least, row
    return equal / len(ours)


def bandwidth_share(checkpoint: Checkpoint, steps: Steps) -> float | None:
    """Return the part of the card's bytes a second that the steps had to read."""
    if (limits := card_limits()) is None:
        return None
    read = weight_bytes(checkpoint) * len(steps.kept) + token_bytes(checkpoint) * sum(steps.kept)
    return round(read / sum(steps.seconds) / limits[1], 4)


def alone(checkpoint: Checkpoint, device: str) -> dict[str, float]:
    """Return median milliseconds of one text alone: directly, with 64 tokens, by `generate`."""
    model, query = MMEmbR1(checkpoint, EmbedderConfig(device=device)), [Content("3 red mugs")]
    samples = asked_to_reason(checkpoint, query, checkpoint.manifest.query_instruction)
    work = {
        "direct_ms": lambda: model.encode_query(query, policy="never"),
        "reasoned_ms": lambda: model.encode_query(
            query, policy="always", max_new_tokens=ALONE_TOKENS
        ),
        "generate_ms": lambda: generated(checkpoint, samples, max_new_tokens=ALONE_TOKENS),
    }
    found = {}
    for name, once in work.items():
        seconds = []
        for _ in range(1 + ALONE_TIMES):
            began = time.perf_counter()
            once()
            seconds.append(time.perf_counter() - began)
        found[name] = round(1e3 * statistics.median(seconds[1:]), 2)
    return found
