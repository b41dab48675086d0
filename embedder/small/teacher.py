"""What the teachers say of each text and image, computed once and kept in parts.

Shape legend: N = texts or images, F = features
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save

from catalog.atomic_file import write_atomically
from embedder.content import Content
from embedder.pair.image_encoder import open_image_encoder
from embedder.prompting.images import open_image
from embedder.sentence.encoder import SentenceEncoder

PART = 2_048
IMAGE_BATCH = 8
"""Of more the maps do not stay in a CPU's cache."""

T = TypeVar("T")


def text_teacher(folder: Path, *, device: str = "cpu") -> Callable[[Sequence[str]], torch.Tensor]:
    """Return what makes [n, F] vectors of texts: a sentence-transformers model in a folder."""
    encoder = SentenceEncoder.open(str(folder), device=device, dtype="float32")

    def encode(texts: Sequence[str]) -> torch.Tensor:
        answers = encoder.encode_items([Content(text) for text in texts])
        return torch.from_numpy(np.stack([one.vector for one in answers]))

    return encode


def image_teacher(
    folder: Path, *, device: str = "cpu"
) -> Callable[[Sequence[bytes]], torch.Tensor]:
    """Return what makes [n, F] features of images: a vision model in a folder."""
    encoder = open_image_encoder(str(folder), device=device)

    def encode(images: Sequence[bytes]) -> torch.Tensor:
        found = []
        for start in range(0, len(images), IMAGE_BATCH):
            batch = images[start : start + IMAGE_BATCH]
            found.append(encoder.features([encoder.prepared(open_image(one)) for one in batch]))
        return torch.cat(found)

    return encode


def table(
    told: Sequence[T],
    encode: Callable[[Sequence[T]], torch.Tensor],
    folder: Path,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> torch.Tensor:
    """Return [N, F] float32 what a teacher makes of everything, in order.

    Every `PART` of them are a file, and what is there is not computed again.

    Args:
        told: texts or images; the same whenever the folder is used.
        encode: to [n, F].
        folder: of the parts, kept as float16.
        progress: told how many more are done.
    """
    parts = []
    for start in range(0, len(told), PART):
        path = folder / f"{start:07d}.safetensors"
        part = told[start : start + PART]
        if not path.exists():
            tensor = encode(part).to(torch.float16).contiguous()
            write_atomically(path, save({"features": tensor}))
        parts.append(load_file(path)["features"].float())
        progress(len(part))
    return torch.cat(parts)
