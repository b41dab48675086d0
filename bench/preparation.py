"""What it costs to prepare contents: alone, and of the time in which they are embedded."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from bench.stopwatch import Stopwatch
from embedder.content import Content
from embedder.mmemb_r1 import MMEmbR1

NUM_ROUNDS = 5


def add_what_to_do(parser: argparse.ArgumentParser) -> None:
    """Add the two things that a benchmark of media does: train in a folder, or this alone."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="folder for data and runs")
    what.add_argument(
        "--only-preparation",
        metavar="MODEL",
        help="train nothing, and measure what it costs to prepare contents for a model",
    )


def preparation(embedder: MMEmbR1, contents: Sequence[Content]) -> dict[str, float]:
    """Return the milliseconds that a content costs, and how much the model waits for contents.

    `prepare_ms` is of contents that one thread prepares one after the other, `embed_ms` of
    embedding them, whoever prepares them meanwhile, and `waits` the share of that time in which
    the model waits for prepared contents; of several rounds the best one counts.
    """
    inputs, watch = embedder.checkpoint.inputs, Stopwatch()
    embedder.encode_items(contents[:32])  # processes that decode are there
    embedded: list[tuple[float, float]] = []
    for _ in range(NUM_ROUNDS):
        watch.time("prepare", lambda: [inputs.sample(one, "describe the item") for one in contents])
        began, waited_s = time.perf_counter(), embedder.waited_s
        embedder.encode_items(contents)
        embedded.append((time.perf_counter() - began, embedder.waited_s - waited_s))
    embed_s, waited_s = min(embedded)
    return {
        "prepare_ms": round(1_000 * watch.wall["prepare"] / len(contents), 3),
        "embed_ms": round(1_000 * embed_s / len(contents), 3),
        "waits": round(waited_s / embed_s, 3),
    }
