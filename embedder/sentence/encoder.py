"""Any sentence-transformers model as the pipeline's embedder.

Such a model has no gate and never reasons. What it takes decides what it is given: text, images,
or both in one; where it takes both but not together (CLIP and its kin), the two vectors are added,
each at unit length, which is ours and no model's own way.

Shape legend: N = contents, D = embedding dimension
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer

from embedder.base_encoder import BaseEncoder
from embedder.content import Answer, Content, Encoding, Failure, Policy, Side, nothing_left
from embedder.precision import AskedDtype, Dtype, dtype_on
from embedder.prompting.image_processor import register
from embedder.prompting.images import image_problem, open_image
from embedder.sentence.version import sentence_folder, sentence_name, sentence_version

try:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
except ModuleNotFoundError as error:
    raise ValueError(
        "sentence-transformers must be installed to open `st:` models and frozen text encoders, "
        "and is not; install it with: pip install 'ponder[sentence-transformers]'"
    ) from error

Modality = Literal["text", "image", "both"]
CHUNK = 256  # contents that are encoded together, at most
CHUNK_PIXELS = 32_000_000  # of their images, which lie there at three bytes each: 100 MB
BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class OpenedContent:
    """A content whose image is decoded, or has none that the model reads."""

    text: str
    image: Image.Image | None

    @property
    def num_pixels(self) -> int:
        """Of the image; 0 without one."""
        return 0 if self.image is None else self.image.width * self.image.height


class SentenceEncoder(BaseEncoder):
    """A loaded sentence-transformers model; implements `embedder.content.CatalogueEncoder`."""

    reasoner = ""
    prompt_version = ""

    def __init__(self, model: SentenceTransformer, *, name: str, version: str) -> None:
        """Keeps a loaded model; `open` loads it.

        Args:
            model: on its device.
            name: the human part of `version`.
            version: identity of the model.
        """
        self._model = model
        self.name, self.version = name, version
        self.dim: int = model.encode(["x"], show_progress_bar=False).shape[1]
        self._sees = model.supports("image")
        self._fuses = model.supports(("image", "text"))

    @classmethod
    def open(
        cls, model: str, *, device: str = "cpu", dtype: AskedDtype = "auto"
    ) -> "SentenceEncoder":
        """Loads a folder or hub id: safetensors only, no code of its own.

        Raises:
            FileNotFoundError: it holds no safetensors weights.
            ValueError: one of its modules is code that it brings along.
        """
        chosen = dtype_on(device, dtype)
        loaded = load_sentence_model(model, device=device, dtype=chosen)
        return cls(loaded, name=sentence_name(model), version=sentence_version(model, dtype=chosen))

    @property
    def reads_sides_alike(self) -> bool:
        """Whether a text has one vector as a query and as an item: no prompt tells them apart."""
        return not any(self._model.prompts.values()) and not any(
            isinstance(module, Router) for module in self._model
        )

    @property
    def dims(self) -> tuple[int, ...]:
        """Only the dimension that the model gives, which its `truncate_dim` may have shortened."""
        return (self.dim,)

    def refusal(self, content: Content) -> str | None:
        """Return why the content cannot be embedded; None when it can.

        To a model that reads no images, an image beside a text is as good as none; and so are a
        clip and a sound beside a text or an image to every one of these models.
        """
        if (reason := nothing_left(content, self.name)) is not None:
            return reason
        if content.image is None or (content.text and not self._sees):
            return None
        if not self._sees:
            return f"{self.name} reads text only, and there is an image without any"
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
        """See `BaseEncoder`; the prompt is the model's own for queries or for documents.

        `always` reasons as little as the other policies; the encodings say so. With no reasoning to
        cut short, deadline and token limit change nothing.
        """
        fallback = f"{self.name} does not reason" if policy == "always" else ""
        chunk: dict[int, OpenedContent] = {}
        num_pixels = 0
        for number, content in enumerate(contents):
            try:
                opened = chunk[number] = self._opened(content)
            except ValueError as error:
                yield number, Failure(error)
                continue
            num_pixels += opened.num_pixels
            if len(chunk) == CHUNK or num_pixels >= CHUNK_PIXELS:
                yield from self._encoded(chunk, side, fallback)
                chunk, num_pixels = {}, 0
        if chunk:
            yield from self._encoded(chunk, side, fallback)

    def _opened(self, content: Content) -> OpenedContent:
        """Decode what the model reads of a content.

        Raises:
            ImageError: the image cannot be opened.
            ValueError: there is nothing that the model reads.
        """
        if content.image is not None and self._sees:
            return OpenedContent(content.text, open_image(content.image))
        if (reason := self.refusal(content)) is not None:
            raise ValueError(reason)
        return OpenedContent(content.text, None)

    def _encoded(
        self, chunk: Mapping[int, OpenedContent], side: Side, fallback: str
    ) -> Iterator[tuple[int, Answer]]:
        sums_ND = torch.zeros(len(chunk), self.dim)
        for inputs in self._inputs(chunk.values()).values():
            rows = torch.tensor(list(inputs))
            sums_ND[rows] += self._vectors(list(inputs.values()), side)
        for number, vector_D in zip(chunk, F.normalize(sums_ND, dim=-1).numpy(), strict=True):
            yield number, Encoding(vector_D, "direct", 0.0, fallback=fallback)

    def _inputs(self, contents: Iterable[OpenedContent]) -> dict[Modality, dict[int, Any]]:
        """Return what the model is given, by modality and row; a batch of it must not mix them."""
        inputs: dict[Modality, dict[int, Any]] = {}
        for row, content in enumerate(contents):
            image = content.image
            if image is not None and content.text and self._fuses:
                # The model's template is given them in this order; vision-language models were
                # trained with the image first.
                inputs.setdefault("both", {})[row] = {"image": image, "text": content.text}
                continue
            if image is not None:
                inputs.setdefault("image", {})[row] = {"image": image}
            if content.text or image is None:
                # A bare text that looks like an image's address would be fetched and shown.
                text: Any = {"text": content.text} if self._sees else content.text
                inputs.setdefault("text", {})[row] = text
        return inputs

    def _vectors(self, inputs: list[Any], side: Side) -> torch.Tensor:
        """Encode to [N, D] float32, L2-normalised."""
        encode = self._model.encode_query if side == "query" else self._model.encode_document
        vectors_ND = encode(
            inputs, batch_size=BATCH_SIZE, show_progress_bar=False, convert_to_tensor=True
        )
        return F.normalize(vectors_ND.float().cpu(), dim=-1)


def load_sentence_model(
    model: str, *, device: str = "cpu", dtype: Dtype = "float32"
) -> SentenceTransformer:
    """Load a folder or hub id.

    Raises:
        FileNotFoundError: it holds no safetensors weights.
        ValueError: one of its modules is code that it brings along.
    """
    register()
    folder = sentence_folder(model)
    loaded = SentenceTransformer(
        str(folder),
        device=device,
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
    )
    _restore_normalizer(loaded, folder)
    return loaded


def _restore_normalizer(model: SentenceTransformer, folder: Path) -> None:
    """Give the tokenizer the rules of its file again.

    transformers from 5.18 on builds the normalizer of some classes (Qwen's) anew and drops what a
    checkpoint's `tokenizer.json` has beyond, such as WeMM-Embedding's rule for a last line break.
    """
    tokenizer = getattr(getattr(model[0], "tokenizer", None), "backend_tokenizer", None)
    path = next(folder.rglob("tokenizer.json"), None)
    if tokenizer is not None and path is not None:
        tokenizer.normalizer = Tokenizer.from_file(str(path)).normalizer
