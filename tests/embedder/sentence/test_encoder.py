"""Tests for embedder/sentence/encoder.py: a tiny text model, and a multimodal one, both local."""

import importlib
import io
import shutil
import sys

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is missing")
from sentence_transformers import SentenceTransformer

from catalog.lake.tables import EMBEDDINGS, ITEMS, RATIONALES
from embedder.content import Content
from embedder.items import embed_items
from embedder.prompting.images import open_image
from embedder.sentence.encoder import SentenceEncoder
from embedder.sentence.export import export
from embedder.sentence.version import sentence_folder, sentence_name, sentence_version
from tests.tiny_encoders import write_text_model


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    """A BERT with random weights, a query prompt and a document prompt."""
    return write_text_model(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def text_encoder(text_model):
    return SentenceEncoder.open(str(text_model))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "nano"
    export("nano", folder)
    return folder


@pytest.fixture(scope="module")
def image_encoder(exported):
    return SentenceEncoder.open(str(exported))


def vectors(encodings):
    return np.stack([encoding.vector for encoding in encodings])


def test_vectors_are_those_of_sentence_transformers_with_its_prompts(text_model, text_encoder):
    texts = ["3 red mugs", "blue", "boats kites boats"]
    model = SentenceTransformer(str(text_model), device="cpu")
    contents = [Content(text) for text in texts]
    queries, items = text_encoder.encode_query(contents), text_encoder.encode_items(contents)
    np.testing.assert_allclose(vectors(queries), model.encode_query(texts), atol=1e-6)
    np.testing.assert_allclose(vectors(items), model.encode_document(texts), atol=1e-6)
    assert not np.allclose(vectors(queries), vectors(items), atol=1e-3)
    assert {(e.action, e.gate_probability) for e in queries} == {("direct", 0.0)}
    assert queries[0].vector.dtype == np.float32
    assert (text_encoder.dim, text_encoder.dims) == (32, (32,))


def test_a_vector_does_not_depend_on_its_batch(text_encoder, image_encoder, image):
    contents = [Content("3 red mugs"), Content("blue", image), Content("kites " * 30)]
    for encoder in (text_encoder, image_encoder):
        together = encoder.encode_items(contents)
        for content, expected in zip(contents, together, strict=True):
            alone = encoder.encode_items([content])[0]
            np.testing.assert_allclose(alone.vector, expected.vector, atol=1e-5)


def test_sides_are_alike_where_no_prompt_tells_them_apart(text_encoder, tmp_path):
    plain = SentenceEncoder.open(str(write_text_model(tmp_path, prompts={})))
    assert (plain.reads_sides_alike, text_encoder.reads_sides_alike) == (True, False)


def test_a_shortened_model_gives_short_unit_vectors(text_model, tmp_path):
    model = SentenceTransformer(str(text_model), device="cpu", truncate_dim=8)
    model.save(str(tmp_path / "short"), create_model_card=False)
    encoder = SentenceEncoder.open(str(tmp_path / "short"))
    (encoding,) = encoder.encode_query([Content("red mugs")])
    assert (encoder.dim, encoder.dims, len(encoding.vector)) == (8, (8,), 8)
    assert np.linalg.norm(encoding.vector) == pytest.approx(1, abs=1e-6)


def test_a_text_model_passes_over_an_image_beside_a_text(text_encoder, image):
    with_image, without = text_encoder.encode_items([Content("mugs", image), Content("mugs")])
    np.testing.assert_array_equal(with_image.vector, without.vector)


def test_an_image_alone_fails_its_item_and_no_other(text_encoder, image):
    rows = [
        {"item_id": "a", "title": "3 mugs", "image_hash": "pic"},
        {"item_id": "b", "title": None, "image_hash": "pic"},
        {"item_id": "c", "title": "kites", "image_hash": None},
    ]
    common = {"tags": [], "deleted": False}
    items = pl.DataFrame(
        [row | common | {"content_hash": row["item_id"]} for row in rows], schema=ITEMS.schema
    )
    embedded = embed_items(items, {"pic": image}, text_encoder)
    assert embedded.embeddings["item_id"].to_list() == ["a", "c"]
    assert embedded.embeddings.schema == EMBEDDINGS.schema
    assert embedded.rationales.schema == RATIONALES.schema
    assert embedded.rationales.is_empty()
    assert "reads text only" in embedded.failures["b"]


def test_a_clip_alone_is_refused_and_one_beside_a_text_is_passed_over(text_encoder):
    assert "reads no clips" in text_encoder.refusal(Content(clip=b"film"))
    assert text_encoder.refusal(Content("a kite", clip=b"film")) is None
    contents = [Content(clip=b"film"), Content("a kite", clip=b"film")]
    answers = dict(text_encoder.stream_items(contents))
    assert "reads no clips" in answers[0].reason
    assert answers[1].action == "direct"


def test_a_sound_alone_is_refused_and_one_beside_a_text_is_passed_over(text_encoder):
    assert "reads no sounds" in text_encoder.refusal(Content(audio=b"bell"))
    contents = [Content(audio=b"bell"), Content("a kite", audio=b"bell")]
    answers = dict(text_encoder.stream_items(contents))
    assert "reads no sounds" in answers[0].reason
    assert answers[1].action == "direct"


def test_a_query_that_the_model_cannot_read_is_refused(text_encoder, image_encoder, image):
    with pytest.raises(ValueError, match="reads text only"):
        text_encoder.encode_query([Content("", image)])
    with pytest.raises(ValueError, match="must be a whole PNG"):
        image_encoder.encode_query([Content("mugs", b"not an image")])


def test_a_text_that_looks_like_an_address_is_text(image_encoder, text_encoder, tmp_path):
    """sentence-transformers would fetch the first two and open the last as an image."""
    path = tmp_path / "secret.png"
    Image.new("RGB", (64, 64), "red").save(path)
    texts = ["http://127.0.0.1:9/a.png", "data:image/png;base64,AAAA", str(path)]
    bracketed = [f" {text} " for text in texts]
    for encoder in (image_encoder, text_encoder):
        got = vectors(encoder.encode_items([Content(text) for text in texts]))
        like_text = vectors(encoder.encode_items([Content(text) for text in bracketed]))
        assert (got * like_text).sum(axis=1).min() > 0.5


def test_images_of_every_kind_become_vectors(image_encoder):
    contents = []
    for mode, size in (("RGBA", (1, 1)), ("L", (400, 3)), ("CMYK", (30, 40)), ("P", (64, 64))):
        file = io.BytesIO()
        Image.new(mode, size).save(file, "JPEG" if mode == "CMYK" else "PNG")
        contents.append(Content("", file.getvalue()))
    got = vectors(image_encoder.encode_items(contents))
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


class Apart:
    """A model that takes a text or an image but not both in one, as CLIP does."""

    prompts: dict[str, str] = {}  # noqa: RUF012

    def supports(self, modality):
        return modality in ("text", "image")

    def encode(self, inputs, **_):
        return torch.stack([self.vector(x) for x in inputs])

    encode_query = encode_document = encode

    def vector(self, given):
        assert isinstance(given, str) or len(given) == 1
        return torch.tensor([3.0, 0.0] if isinstance(given, str) or "text" in given else [0.0, 5.0])


def test_images_are_decoded_so_many_pixels_at_a_time(image_encoder, image, monkeypatch):
    from embedder.sentence import encoder

    drawn = []
    contents = (drawn.append(n) or Content(image=image) for n in range(5))
    num_pixels = open_image(image).width * open_image(image).height
    monkeypatch.setattr(encoder, "CHUNK_PIXELS", 2 * num_pixels)
    answered = [(number, len(drawn)) for number, _ in image_encoder.stream_items(contents)]
    assert answered == [(0, 2), (1, 2), (2, 4), (3, 4), (4, 5)]


def test_text_and_image_count_equally_where_the_model_takes_them_apart(image):
    encoder = SentenceEncoder(Apart(), name="apart", version="apart-1")
    contents = [Content("mugs"), Content("", image), Content("mugs", image)]
    half = 0.5**0.5
    np.testing.assert_allclose(
        vectors(encoder.encode_items(contents)), [[1, 0], [0, 1], [half, half]], atol=1e-6
    )


def test_asked_to_reason_it_says_that_it_does_not(text_encoder):
    (encoding,) = text_encoder.encode_query([Content("mugs")], policy="always")
    assert (encoding.action, encoding.fallback) == ("direct", "saved does not reason")


def test_progress_adds_up_to_the_number_of_items(text_encoder):
    done = []
    assert len(text_encoder.encode_items([Content("mugs")] * 300, progress=done.append)) == 300
    assert sum(done) == 300
    assert len(done) > 1


def test_no_contents_give_no_encodings(text_encoder):
    assert text_encoder.encode_items([]) == text_encoder.encode_query([]) == []


@pytest.mark.parametrize("file", ["1_Pooling/config.json", "config.json", "tokenizer.json"])
def test_whatever_could_change_a_vector_changes_the_id(text_model, tmp_path, file):
    copy = shutil.copytree(text_model, tmp_path / text_model.name)
    assert sentence_version(str(copy)) == sentence_version(str(text_model))
    (copy / file).write_text((copy / file).read_text() + " ")
    assert sentence_version(str(copy)) != sentence_version(str(text_model))


def test_the_id_is_known_without_loading_and_names_the_folder(text_model, text_encoder, exported):
    assert text_encoder.version == sentence_version(str(text_model))
    assert sentence_name(str(text_model)) == "saved"
    assert sentence_name(str(exported)) == "nano"  # a manifest's name goes first


def test_pickled_weights_are_refused_wherever_they_are(text_model, tmp_path):
    copy = shutil.copytree(text_model, tmp_path / "copy")
    (copy / "2_Dense").mkdir()
    (copy / "2_Dense" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(FileNotFoundError, match=r"must hold \*\.safetensors"):
        sentence_folder(str(copy))


def test_a_model_that_brings_code_gets_none_of_it_run(text_model, tmp_path):
    copy = shutil.copytree(text_model, tmp_path / "copy")
    marker = tmp_path / "ran"
    (copy / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    modules = (copy / "modules.json").read_text()
    pooling = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
    assert pooling in modules
    (copy / "modules.json").write_text(modules.replace(pooling, "evil.Pooling"))
    with pytest.raises(ValueError, match="third-party code"):
        SentenceEncoder.open(str(copy))
    assert not marker.exists()


def test_a_path_that_does_not_exist_is_not_taken_for_a_hub_id(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        sentence_folder(str(tmp_path / "nothing"))


def test_where_the_package_is_not_installed_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.delitem(sys.modules, "embedder.sentence.encoder")
    with pytest.raises(ValueError, match=r"pip install 'ponder\[sentence-transformers\]'"):
        importlib.import_module("embedder.sentence.encoder")
