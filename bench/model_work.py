"""What a forward pass must do at least, and what a card could do: shares of a machine's limit."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from embedder.model.checkpoint import Checkpoint
from embedder.prompting.sample import Sample

CARDS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12), "A100": (312e12, 2.04e12)}
"""Dense bfloat16 operations and bytes of memory a second, by a part of the card's name."""


def card_limits() -> tuple[float, float] | None:
    """Return the card's operations and bytes a second; None without a card that is known."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    return next((limits for part, limits in CARDS.items() if part in name), None)


def direct_operations(checkpoint: Checkpoint, samples: Sequence[Sample]) -> float:
    """Return the multiplications and additions of encoding contents directly, without padding.

    Samples have the answer behind them. Of the last text layer keys and values count alone, for
    only two places of it are read.
    """
    config = checkpoint.backbone.model.config
    text, vision = config.get_text_config(), config.vision_config
    lengths = [len(sample) for sample in samples]
    squares = sum(length**2 for length in lengths)
    heads = text.num_attention_heads * text.head_dim
    kv = 2 * text.hidden_size * text.num_key_value_heads * text.head_dim
    layer = 2 * text.hidden_size * heads + kv + 3 * text.hidden_size * text.intermediate_size
    whole_layers = text.num_hidden_layers - 1
    products = 2 * sum(lengths) * (whole_layers * layer + kv)
    attention = 2 * whole_layers * squares * heads  # causal: half of both products
    patches = [len(sample.patches_PV) for sample in samples if sample.patches_PV is not None]
    return products + attention + _image_operations(vision, patches)


def _image_operations(vision: Any, patches: Sequence[int]) -> float:
    width: int = vision.hidden_size
    depth: int = vision.depth
    merged = vision.spatial_merge_size**2
    block = 4 * width**2 + 2 * width * vision.intermediate_size
    first = 3 * vision.patch_size**2 * width
    merger = (merged * width) ** 2 + merged * width * vision.out_hidden_size
    mergers = 1 + len(vision.deepstack_visual_indexes)
    products = 2 * sum(patches) * (depth * block + first + mergers * merger / merged)
    return products + 4 * depth * width * sum(count**2 for count in patches)


def weight_bytes(checkpoint: Checkpoint) -> int:
    """Return the bytes of weights that a decode step reads."""
    model = checkpoint.backbone.model
    layers = model.model.language_model.layers
    return sum(one.nbytes for one in layers.parameters()) + model.lm_head.weight.nbytes


def token_bytes(checkpoint: Checkpoint) -> int:
    """Return the bytes of one token's keys and values."""
    text = checkpoint.backbone.model.config.get_text_config()
    size = checkpoint.backbone.model.dtype.itemsize
    return 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * size


def busy_share(work: Callable[[], object]) -> float:
    """Return the part of the work's seconds in which the device computes; without a GPU the CPU."""
    if not torch.cuda.is_available():
        wall, busy = time.perf_counter(), time.process_time()
        work()
        return (time.process_time() - busy) / (time.perf_counter() - wall)
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    kernels_us = sum(event.self_device_time_total for event in profile.key_averages())
    return kernels_us / 1e6 / seconds
