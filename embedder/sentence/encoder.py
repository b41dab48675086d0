"""Any sentence-transformers model as the pipeline's embedder.

Such a model has no gate and never reasons. What it takes decides what it is given: text, images,
or both in one; where it takes both but not together (CLIP and its kin), the two vectors are added,
each at unit length, which is ours and no model's own way.

Shape legend: N = contents, D = embedding dimension
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import torch
import torch.nn.functional as F

from embedder.base_encoder import BaseEncoder
from embedder.content import Answer, Content, Encoding, Failure, Policy, Side
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
CHUNK = 256  # contents that are looked at together
BATCH_SIZE = 32


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

        To a model that reads no images, an image beside a text is as good as none.
        """
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
        numbered = enumerate(contents)
        while chunk := list(islice(numbered, CHUNK)):
            good: dict[int, Content] = {}
            for number, content in chunk:
                if (reason := self.refusal(content)) is None:
                    good[number] = content
                else:
                    yield number, Failure(ValueError(reason))
            encodings = self._encode(list(good.values()), side, policy)
            yield from zip(good, encodings, strict=True)

    def _encode(
        self, contents: Sequence[Content], side: Side, policy: Policy | None
    ) -> list[Encoding]:
        sums_ND = torch.zeros(len(contents), self.dim)
        for inputs in self._inputs(contents).values():
            rows = torch.tensor(list(inputs))
            sums_ND[rows] += self._vectors(list(inputs.values()), side)
        fallback = f"{self.name} does not reason" if policy == "always" else ""
        return [
            Encoding(vector, "direct", 0.0, fallback=fallback)
            for vector in F.normalize(sums_ND, dim=-1).numpy()
        ]

    def _inputs(self, contents: Sequence[Content]) -> dict[Modality, dict[int, Any]]:
        """Return what the model is given, by modality and row; a batch of it must not mix them."""
        inputs: dict[Modality, dict[int, Any]] = {}
        for row, content in enumerate(contents):
            image = None
            if content.image is not None and self._sees:
                image = open_image(content.image)
            if image is not None and content.text and self._fuses:
                inputs.setdefault("both", {})[row] = {"text": content.text, "image": image}
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
    return SentenceTransformer(
        str(sentence_folder(model)),
        device=device,
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
    )
