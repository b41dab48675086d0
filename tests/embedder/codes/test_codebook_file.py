"""Codebooks as a file that nobody trusts: cut, edited, of another shape or another version."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from safetensors.numpy import save

from embedder.codes.codebook_file import FORMAT, load_codebooks, save_codebooks
from embedder.codes.codebooks import Codebooks, Described
from embedder.codes.config import CodesConfig

CONFIG = CodesConfig(num_levels=2, num_codes=3, sample_items=3)


def codebooks(**parts):
    rng = np.random.default_rng(0)
    centroids = rng.standard_normal((2, 3, 4)).astype(np.float32)
    return Codebooks(Described(model_version="v", config=CONFIG), centroids, **parts)


def layer(out, into):
    return np.full((out, into), 0.5, np.float32), np.zeros(out, np.float32)


@pytest.mark.parametrize("parts", [{}, {"encoder": (layer(4, 6),), "decoder": (layer(6, 4),)}])
def test_what_is_written_is_read_again(tmp_path, parts):
    books = codebooks(**parts)
    save_codebooks(books, tmp_path)
    read = load_codebooks(tmp_path, books.id, model_version="v")
    assert read.id == books.id
    assert read.of == books.of
    vectors = np.random.default_rng(1).standard_normal((20, books.dim)).astype(np.float32)
    assert (read.assign(vectors) == books.assign(vectors)).all()


def test_codes_of_another_version_are_refused(tmp_path):
    books = codebooks()
    save_codebooks(books, tmp_path)
    with pytest.raises(ValueError, match="codes vectors of 'v', not of 'w'"):
        load_codebooks(tmp_path, books.id, model_version="w")


def test_a_file_in_the_place_of_another_is_refused(tmp_path):
    path = save_codebooks(codebooks(), tmp_path)
    (tmp_path / "0123").mkdir()
    (tmp_path / "0123" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="must hold the codebooks '0123'"):
        load_codebooks(tmp_path, "0123", model_version="v")


def test_a_cut_a_missing_and_a_foreign_file_are_refused(tmp_path):
    books = codebooks()
    path = save_codebooks(books, tmp_path)
    whole = path.read_bytes()
    for content in (whole[:-8], whole[:4], b"", b"\xff" * 64, save({})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="must be codebooks that `ponder codes learn` wrote"):
            load_codebooks(tmp_path, books.id, model_version="v")
    path.unlink()
    with pytest.raises(ValueError, match="must be codebooks"):
        load_codebooks(tmp_path, books.id, model_version="v")


GOOD = {"centroids": np.ones((2, 3, 4), np.float32)}


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({}, r"shape \(2, 3, C\)"),
        ({"centroids": np.ones((3, 3, 4), np.float32)}, r"got \(3, 3, 4\)"),
        ({"centroids": np.ones((2, 3), np.float32)}, r"got \(2, 3\)"),
        ({"centroids": np.ones((2, 3, 4))}, "finite float32"),
        ({"centroids": np.full((2, 3, 4), np.nan, np.float32)}, "finite float32"),
        (GOOD | {"other": np.ones(1, np.float32)}, r"nothing else, got \['other'\]"),
        (GOOD | {"encoder.0.weight": layer(4, 6)[0]}, r"a bias \(out,\)"),
        (
            GOOD | {"encoder.0.weight": layer(4, 6)[0], "encoder.0.bias": layer(4, 6)[1]},
            "or neither",
        ),
        (
            GOOD
            | {"encoder.0.weight": layer(5, 6)[0], "encoder.0.bias": layer(5, 6)[1]}
            | {"decoder.0.weight": layer(6, 5)[0], "decoder.0.bias": layer(6, 5)[1]},
            "centroids of 4 numbers",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, tensors, told):
    about = {"format": FORMAT, "model_version": "v", "config": json.dumps(asdict(CONFIG))}
    refused(tmp_path, save(tensors, metadata=about), told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "ponder codes 9"}, "its format must be"),
        ({"config": "{"}, "must be JSON"),
        ({"config": json.dumps(asdict(CONFIG) | {"num_levels": 99})}, "num_levels must be in"),
        ({"config": json.dumps({"num_levels": "two"})}, "num_levels"),
    ],
)
def test_words_that_do_not_fit_are_refused(tmp_path, change, told):
    about = {"format": FORMAT, "model_version": "v", "config": json.dumps(asdict(CONFIG))}
    refused(tmp_path, save(GOOD, metadata=about | change), told)


def refused(folder, content, told):
    (folder / "id").mkdir()
    (folder / "id" / "codebooks.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=told):
        load_codebooks(folder, "id", model_version="v")
