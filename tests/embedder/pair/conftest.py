"""Tiny frozen encoders, and heads over them."""

import pytest

pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is missing")
import torch

from embedder.pair.encoder import PairEncoder, write_pair
from embedder.pair.frozen import FrozenEncoders
from embedder.pair.heads import Heads
from embedder.version import Manifest
from tests.tiny_encoders import write_lite0, write_text_model


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folders of a text encoder with prompts, and of an image encoder."""
    folder = tmp_path_factory.mktemp("frozen")
    return str(write_text_model(folder / "text")), str(write_lite0(folder / "image"))


@pytest.fixture(scope="session")
def frozen(models):
    return FrozenEncoders.open(*models)


@pytest.fixture(scope="session")
def heads(frozen):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Heads(text_features=32, image_features=1392, hidden_size=16, dim=8)


@pytest.fixture(scope="session")
def version(frozen, heads, tmp_path_factory):
    """A version's folder."""
    folder = tmp_path_factory.mktemp("pair") / "shop"
    write_pair(folder, frozen, heads, manifest=Manifest(name="shop", dims=(4, 8), theta=1.0))
    return folder


@pytest.fixture(scope="session")
def encoder(version):
    return PairEncoder.open(version)
