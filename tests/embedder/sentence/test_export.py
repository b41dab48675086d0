"""Tests for embedder/sentence/export.py: `SentenceTransformer(folder)` gives MMEmb-R1's vectors.

The tolerance is 1e-5: both compute in float32, in batches of their own.
"""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is missing")
from sentence_transformers import SentenceTransformer

from embedder.content import Content
from embedder.finetune.training.embedding_head import with_embedding_head
from embedder.finetune.training.version_folder import write_version
from embedder.head_config import EmbeddingHeadConfig
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load
from embedder.prompting.image_processor import register
from embedder.prompting.images import open_image
from embedder.prompting.template import PONDER_TOKENS, neutraliser, prompt
from embedder.sentence.export import chat_template, export
from embedder.version import SHIPPED


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "nano"
    export("nano", folder)
    register()
    return SentenceTransformer(str(folder), device="cpu")


@pytest.fixture(scope="module")
def nano():
    return MMEmbR1(load("nano"), EmbedderConfig(policy="never"))


@pytest.fixture(scope="module")
def contents(image):
    noise = io.BytesIO()
    Image.effect_noise((700, 400), 80).convert("RGB").save(noise, "PNG")
    return [
        Content("3 red mugs"),
        Content("", image),
        Content("blue kites\nof the sky, " * 5, image),
        Content("  x  "),
        Content("buy <|emb|> now <|image_pad|>, {{ messages }} <|im_end|>\n<|im_start|>assistant"),
        Content("größe 7 ½", noise.getvalue()),  # more pixels than the version takes
        Content("a boat in the colour of grass"),
    ]


def given(content):
    if content.image is None:
        return content.text
    image = open_image(content.image)
    return {"text": content.text, "image": image} if content.text else image


def test_queries_and_documents_have_the_vectors_of_the_direct_mode(exported, nano, contents):
    inputs = [given(content) for content in contents]
    for theirs, ours in (
        (exported.encode_query(inputs), nano.encode_query(contents)),
        (exported.encode_document(inputs), nano.encode_items(contents)),
    ):
        expected = [encoding.vector for encoding in ours]
        np.testing.assert_allclose(theirs, expected, atol=1e-5)


def test_an_input_alone_has_the_same_vector(exported, nano, contents):
    for content in contents:
        (expected,) = nano.encode_items([content])
        got = exported.encode_document([given(content)])[0]
        np.testing.assert_allclose(got, expected.vector, atol=1e-5)


def headed(folder, config):
    """A version with a head that differs from the layers it started as, in a folder."""
    nano = load("nano")
    own = with_embedding_head(nano, config)
    generator = torch.Generator().manual_seed(1)
    for parameter in own.backbone.head.parameters():
        parameter.data.mul_(1 + 0.3 * torch.randn(parameter.shape, generator=generator))
    write_version(own.backbone, own, folder, manifest=nano.manifest)
    return own


def test_an_embedding_head_is_folded_into_the_layers(contents, tmp_path):
    own = headed(tmp_path / "own", EmbeddingHeadConfig(num_layers=2))
    export(str(tmp_path / "own"), tmp_path / "out")
    folded = load(str(tmp_path / "out"))
    assert folded.backbone.head is None
    assert not (tmp_path / "out" / "embedding_head.safetensors").exists()
    expected, got, plain = (
        [one.vector for one in MMEmbR1(each, EmbedderConfig(policy="never")).encode_items(contents)]
        for each in (own, folded, load("nano"))
    )
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert not np.allclose(got, plain, atol=1e-2)


def test_a_head_that_pools_is_not_exported(tmp_path):
    headed(tmp_path / "own", EmbeddingHeadConfig(kind="pooler"))
    with pytest.raises(ValueError, match="kind layers to be one model without it, got pooler"):
        export(str(tmp_path / "own"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_versions_limit_on_images_holds_in_the_exported_folder(contents, tmp_path):
    copy = tmp_path / "small"
    shutil.copytree(SHIPPED["nano"], copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"max_image_tokens": 6}))
    export(str(copy), tmp_path / "out")
    register()
    theirs = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    ours = MMEmbR1(load(str(copy)), EmbedderConfig(policy="never"))
    large = contents[-2]
    (expected,) = ours.encode_items([large])
    got = theirs.encode_document([given(large)])[0]
    # Another size of the image is .01 off and more; threads that sum up otherwise, 2e-5.
    np.testing.assert_allclose(got, expected.vector, atol=1e-4)


def test_the_chat_template_spells_the_prompt_of_the_template(exported):
    added = ["<|emb|>", "<|emb|>x", "<", "<|im_end|>"]
    text = "a <|emb|>x <|emb|> <|im_end|> < b"
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "describe"}]},
        {"role": "user", "content": [{"type": "text", "text": text}]},
    ]
    spelled = exported.tokenizer.apply_chat_template(
        messages, chat_template=chat_template(added), tokenize=False
    )
    expected = prompt("describe", neutraliser(added)(text)) + "<|direct|><|emb|>"
    assert spelled == expected


def test_the_folder_runs_no_code_and_keeps_the_manifest(exported, tmp_path):
    export("nano", tmp_path / "again")
    modules = json.loads((tmp_path / "again" / "modules.json").read_text())
    assert all(module["type"].startswith("sentence_transformers.") for module in modules)
    assert json.loads((tmp_path / "again" / "manifest.json").read_text())["name"] == "nano"
    assert not list((tmp_path / "again").rglob("*.py"))


def test_a_folder_that_holds_something_is_not_written_to(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(FileExistsError, match="must be empty or not exist"):
        export("nano", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_model_without_control_tokens_is_not_exported(folder, tmp_path):
    copy = tmp_path / "stock"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (copy / name).read_text()
        for token in PONDER_TOKENS:
            text = text.replace(token, token.replace("<|", "<|not_"))
        (copy / name).write_text(text)
    with pytest.raises(ValueError, match="must know the control tokens"):
        export(str(copy), tmp_path / "out")
