"""Direct encoding by a model of a published shape, beside transformers' own forward.

Weights are random and made on the device; vectors are compared with the rival's before a time is
taken. The rival gets prepared contents sorted by length, at its best of some batch sizes; ours
prepares them within its time.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from model_work import busy_share, card_limits, direct_operations
from plain_transformers import plain_states
from random_model import TINY, random_checkpoint
from shaped_catalogue import shaped_catalogue
from stopwatch import Stopwatch

from embedder.content import Content
from embedder.engine.batches import padded_tokens, token_budget_batches
from embedder.engine.memory import ShrinkingLimit, peak_memory_bytes
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import Checkpoint
from embedder.precision import dtype_on
from embedder.prompting.answers import direct_answer
from embedder.prompting.sample import Sample

RIVAL_SIZES = (32, 128)
MIN_COSINE = {"float32": 0.99999, "bfloat16": 0.998}
"""Of our vector and the rival's, which rounds in other places."""

CHECKED = 16


def direct(shape: str, device: str, num_items: int, rounds: int) -> dict[str, Any]:
    """Measure, and return what is told of it."""
    dtype = dtype_on(device)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = random_checkpoint(shape, Path(folder), device=device, dtype=dtype)
        contents = shaped_catalogue(num_items, seed=0, enlarged=shape != TINY)
        samples = prompts(checkpoint, contents)
        model = MMEmbR1(checkpoint, EmbedderConfig(device=device, policy="never"))
    few = min(CHECKED, num_items)
    cosine = float(
        (encoded(model, contents[:few]) * plain(checkpoint, samples[:few], 1)).sum(1).min()
    )
    assert cosine > MIN_COSINE[dtype], cosine
    watch = Stopwatch()
    encoded(model, contents)  # whatever is chosen or compiled for a shape, is by now
    for _ in range(rounds):
        watch.time("ours", lambda: encoded(model, contents))
        for size in RIVAL_SIZES:
            watch.time(f"batch {size}", lambda size=size: plain(checkpoint, samples, size))
    return told(checkpoint, samples, model, watch) | {
        "shape": shape,
        "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
        "dtype": dtype,
        "least_cosine": round(cosine, 6),
        "busy_share": round(busy_share(lambda: encoded(model, contents)), 3),
    }


def told(
    checkpoint: Checkpoint, samples: list[Sample], model: MMEmbR1, watch: Stopwatch
) -> dict[str, Any]:
    """Return rates and shares."""
    best = min((name for name in watch.wall if name != "ours"), key=watch.wall.__getitem__)
    operations, seconds, limits = (
        direct_operations(checkpoint, samples),
        watch.wall["ours"],
        card_limits(),
    )
    tokens = sum(map(len, samples))
    return {
        "items_per_s": round(len(samples) / seconds, 1),
        "tokens_per_s": round(tokens / seconds),
        "rival_items_per_s": round(len(samples) / watch.wall[best], 1),
        "rival_settings": best,
        "ratio": round(watch.wall[best] / seconds, 2),
        "operations_per_s": round(operations / seconds),
        "mfu": None if limits is None else round(operations / seconds / limits[0], 4),
        "padded_over_real": round(
            padded(samples, model._engine.budget.value, window=512) / tokens, 3
        ),
        "peak_bytes": peak_memory_bytes(),
    }


def prompts(checkpoint: Checkpoint, contents: list[Content]) -> list[Sample]:
    """Return the prompts with the direct answer behind them."""
    inputs, instruction = checkpoint.inputs, checkpoint.manifest.item_instruction
    answer = direct_answer(inputs)
    return [inputs.sample(content, instruction).extended(answer) for content in contents]


def padded(samples: list[Sample], batch_tokens: int, *, window: int) -> int:
    """Count the tokens that are computed where so many contents are sorted together."""
    total = 0
    for start in range(0, len(samples), window):
        part = samples[start : start + window]
        for rows in token_budget_batches(part, ShrinkingLimit(batch_tokens)):
            total += padded_tokens([part[row] for row in rows])
    return total


def encoded(model: MMEmbR1, contents: list[Content]) -> np.ndarray:
    """Return [N, H] our vectors."""
    return np.stack([encoding.vector for encoding in model.encode_items(contents)])


@torch.inference_mode()
def plain(checkpoint: Checkpoint, samples: list[Sample], batch_size: int) -> np.ndarray:
    """Return [N, H] the rival's vectors."""
    order = sorted(range(len(samples)), key=lambda row: len(samples[row]))
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = [samples[row] for row in rows]
        states = plain_states(checkpoint.backbone, checkpoint.inputs, batch)[:, -1]
        vectors = F.normalize(states.float(), dim=-1).cpu().numpy()
        found |= dict(zip(rows, vectors, strict=True))
    return np.stack([found[row] for row in range(len(samples))])
