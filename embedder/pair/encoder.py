"""Frozen encoders of texts and images with trained heads, as the pipeline's embedder.

It never reasons. A text and an image that belong together count the same: each is a unit vector,
and the content is their sum at unit length.

Shape legend: N = contents, D = embedding dimension
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from catalog.images.check import ImageError
from embedder.base_encoder import BaseEncoder
from embedder.content import Answer, Content, Encoding, Failure, Policy, Side, nothing_left
from embedder.pair.frozen import FrozenEncoders
from embedder.pair.heads import Features, Heads
from embedder.pair.version import HEADS, IMAGE, SIZES, TEXT, pair_version
from embedder.prompting.images import image_problem
from embedder.version import Manifest, read_manifest

CHUNK = 64  # contents that are encoded together; of images what the encoder reads is kept, no file


class PairEncoder(BaseEncoder):
    """Loaded encoders with their heads; implements `embedder.content.CatalogueEncoder`."""

    reasoner = ""
    prompt_version = ""

    def __init__(
        self, frozen: FrozenEncoders, heads: Heads, *, manifest: Manifest, version: str
    ) -> None:
        """Keep what is loaded; `open` loads it.

        Args:
            frozen: both encoders, on their device.
            heads: on the CPU.
            manifest: name and prefixes.
            version: identity of it all.
        """
        self._frozen, self._heads = frozen, heads.eval().requires_grad_(False)
        self.name, self.version = manifest.name, version
        self.dim: int = heads.dim
        self.dims: tuple[int, ...] = manifest.dims or (heads.dim,)

    @classmethod
    def open(cls, folder: Path, *, device: str = "cpu") -> "PairEncoder":
        """Load a version's folder.

        Raises:
            FileNotFoundError: a part of it is missing.
            ValueError: one of its encoders brings code along.
        """
        frozen = FrozenEncoders.open(str(folder / TEXT), str(folder / IMAGE), device=device)
        return cls(
            frozen,
            load_heads(folder),
            manifest=read_manifest(folder),
            version=pair_version(folder),
        )

    def refusal(self, content: Content) -> str | None:
        """Return why the content cannot be embedded; None when it can."""
        if (reason := nothing_left(content, self.name)) is not None:
            return reason
        return image_problem(content.image)

    def _answers(
        self,
        contents: Iterable[Content],
        side: Side,
        *,
        policy: Policy | None,
        deadline: float | None,
        max_new_tokens: int | None,
    ) -> Iterator[tuple[int, Answer]]:
        """See `BaseEncoder`; deadline and token limit have no reasoning to cut short.

        `always` reasons as little as the other policies; the encodings say so.
        """
        fallback = f"{self.name} does not reason" if policy == "always" else ""
        chunk: list[tuple[int, str, torch.Tensor | None]] = []
        for number, content in enumerate(contents):
            image = None
            if content.image is None and (reason := self.refusal(content)) is not None:
                yield number, Failure(ValueError(reason))
                continue
            if content.image is not None:
                try:
                    image = self._frozen.prepared(content.image)
                except ImageError as error:
                    yield number, Failure(error)
                    continue
            chunk.append((number, content.text, image))
            if len(chunk) == CHUNK:
                yield from self._encoded(chunk, side, fallback)
                chunk = []
        if chunk:
            yield from self._encoded(chunk, side, fallback)

    @torch.inference_mode()
    def _encoded(
        self, given: Sequence[tuple[int, str, torch.Tensor | None]], side: Side, fallback: str
    ) -> list[tuple[int, Answer]]:
        images = {row: image for row, (_, _, image) in enumerate(given) if image is not None}
        texts = {
            row: text
            for row, (_, text, image) in enumerate(given)
            if text or image is None  # of what has neither, the empty text is embedded
        }
        vectors_ND = self._heads(
            Features(
                len(given),
                torch.tensor(list(texts), dtype=torch.int64),
                self._frozen.text_features(list(texts.values()), side),
                torch.tensor(list(images), dtype=torch.int64),
                self._frozen.features_of(iter(images.values())),
            )
        )
        return [
            (number, _answer(vector_D, fallback))
            for (number, _, _), vector_D in zip(given, vectors_ND, strict=True)
        ]


def _answer(vector_D: torch.Tensor, fallback: str) -> Answer:
    if not torch.isfinite(vector_D).all():
        return Failure(ValueError("the vector must be finite; the content overflows an encoder"))
    return Encoding(vector_D.numpy(), "direct", 0.0, fallback=fallback)


def load_heads(folder: Path) -> Heads:
    """Load the heads of a version's folder."""
    heads = Heads(**json.loads((folder / SIZES).read_text())["heads"])
    heads.load_state_dict(load_file(folder / HEADS))
    return heads


def write_pair(folder: Path, frozen: FrozenEncoders, heads: Heads, *, manifest: Manifest) -> None:
    """Write a version that `PairEncoder.open` opens.

    The manifest is written last, so that a folder that has one is whole.

    Args:
        folder: created when missing; what a killed call left in it is overwritten.
        frozen: the encoders, which are copied: a version is whole by itself.
        heads: trained over their features.
        manifest: name and prefixes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frozen.save(folder)
    save_file(heads.state_dict(), folder / HEADS)
    sizes = {
        "text_features": heads.text.hidden.in_features,
        "image_features": heads.image.hidden.in_features,
        "hidden_size": heads.text.hidden.out_features,
        "dim": heads.dim,
    }
    (folder / SIZES).write_text(json.dumps({"heads": sizes}, indent=2) + "\n")
    values = {name: asdict(manifest)[name] for name in ("name", "dims", "theta")}
    (folder / "manifest.json").write_text(json.dumps(values, indent=2) + "\n")
