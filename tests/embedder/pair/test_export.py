"""Tests for embedder/pair/export.py: the text side elsewhere is the text side here."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embedder.content import Content
from embedder.pair.encoder import PairEncoder, load_heads, write_pair
from embedder.pair.export import export_texts
from embedder.version import Manifest


def test_exported_texts_have_the_vectors_of_the_version(frozen, version, tmp_path):
    heads = load_heads(version)  # with features that were centred
    heads.text.centre(torch.full((32,), 0.1), torch.full((32,), 2.0))
    write_pair(tmp_path / "own", frozen, heads, manifest=Manifest(name="own", dims=(8,)))
    export_texts(tmp_path / "own", tmp_path / "exported")
    exported = SentenceTransformer(str(tmp_path / "exported"), device="cpu")
    own, texts = PairEncoder.open(tmp_path / "own"), ["3 red mugs", "kites", ""]
    contents = [Content(text) for text in texts]
    for theirs, ours in (
        (exported.encode_query(texts), own.encode_query(contents)),
        (exported.encode_document(texts), own.encode_items(contents)),
    ):
        np.testing.assert_allclose(theirs, [one.vector for one in ours], atol=1e-5)


def test_a_folder_that_holds_something_is_left_alone(version, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="must be empty"):
        export_texts(version, tmp_path)
