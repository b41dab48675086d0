"""Both frozen encoders: contents to the features that the heads read.

Shape legend: N = contents, F = features
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from embedder.content import Content, Side
from embedder.pair.image_encoder import ImageEncoder, open_image_encoder
from embedder.pair.version import IMAGE, TEXT
from embedder.prompting.images import open_image
from embedder.sentence.encoder import SentenceEncoder
from embedder.sentence.version import sentence_folder
from embedder.version import READ_PATTERNS


@dataclass(frozen=True, slots=True)
class FrozenEncoders:
    """A sentence-transformers model for texts, and a vision model for images."""

    text: SentenceEncoder
    image: ImageEncoder
    text_model: str
    """Folder or hub id that `text` was opened from."""

    image_batch: int
    """Images that are computed together. On a CPU eight take less time each than more do, for
    their maps stay in its cache."""

    @classmethod
    def open(cls, text: str, image: str, *, device: str = "cpu") -> "FrozenEncoders":
        """Open both by folder or hub id, in float32: safetensors alone, and no code of their own.

        Raises:
            FileNotFoundError: one of them does not exist, or holds no safetensors weights.
            ValueError: one of them brings code along, or the second is no model of images.
        """
        is_cpu = torch.device(device).type == "cpu"
        return cls(
            SentenceEncoder.open(text, device=device, dtype="float32"),
            open_image_encoder(image, device=device),
            text,
            8 if is_cpu else 64,
        )

    def text_features(self, texts: Sequence[str], side: Side) -> torch.Tensor:
        """Return [N, F] features of texts, read with the model's own prompt of the side."""
        contents = [Content(text) for text in texts]
        encode = self.text.encode_query if side == "query" else self.text.encode_items
        if not contents:
            return torch.zeros(0, self.text.dim)
        return torch.from_numpy(np.stack([one.vector for one in encode(contents)]))

    def image_features(self, images: Sequence[bytes]) -> torch.Tensor:
        """Return [N, F] features of images, of which only a batch is decoded at a time.

        Raises:
            ImageError: the bytes are no image; see `embedder.prompting.images.open_image`.
        """
        return self.features_of(self.prepared(image) for image in images)

    def prepared(self, image: bytes) -> torch.Tensor:
        """Return an image as `features_of` takes it.

        Raises:
            ImageError: as of `image_features`.
        """
        return self.image.prepared(open_image(image))

    def features_of(self, prepared: Iterator[torch.Tensor]) -> torch.Tensor:
        """Return [N, F] features of prepared images."""
        found = [torch.zeros(0, self.image.num_features)]
        while batch := [one for _, one in zip(range(self.image_batch), prepared, strict=False)]:
            found.append(self.image.features(batch))
        return torch.cat(found)

    def save(self, folder: Path) -> None:
        """Write both below a folder, with everything that decides a feature."""
        source = sentence_folder(self.text_model)
        for pattern in READ_PATTERNS:
            for path in source.rglob(pattern):
                to = folder / TEXT / path.relative_to(source)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
        self.image.save(folder / IMAGE)
