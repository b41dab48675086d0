"""An encoder without a model, for what runs it."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from embedder.base_encoder import BaseEncoder
from embedder.content import Encoding, Failure


class WordEncoder(BaseEncoder):
    """Texts by their words, images by their mean colour; reasoning forgets the first word."""

    name, version, dim, dims = "words", "words-1", 8, (8,)
    reasoner = prompt_version = ""

    def __init__(self):
        self.num_encoded = 0

    def refusal(self, content):
        return "unreadable" if "unreadable" in content.text else None

    def _answers(self, contents, side, *, policy, deadline, max_new_tokens):
        for number, content in enumerate(contents):
            self.num_encoded += 1
            if self.refusal(content):
                yield number, Failure(ValueError("unreadable"))
                continue
            action = "reason" if policy == "always" else "direct"
            words = content.text.split()[action == "reason" :]
            vector = np.full(self.dim, 1e-3, np.float32)
            for word in words:
                vector[hashlib.sha256(word.encode()).digest()[0] % self.dim] += 1
            if content.image is not None:
                pixels = np.asarray(Image.open(io.BytesIO(content.image)).convert("RGB"))
                vector[:3] += pixels.mean(axis=(0, 1)) / 255
            yield (
                number,
                Encoding(vector / np.linalg.norm(vector), action, 0.0, rationale_tokens=len(words)),
            )


@pytest.fixture
def encoder():
    return WordEncoder()
