"""Tests for embedder/pair/encoder.py: texts, images and both, in one space, each for itself."""

import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from embedder.content import Content, Failure
from embedder.identity import kind_of, model_manifest, model_version
from embedder.pair.encoder import PairEncoder
from embedder.pair.version import pair_models


def vectors(encodings):
    return np.stack([encoding.vector for encoding in encodings])


@torch.inference_mode()
def test_a_vector_is_the_heads_of_what_the_encoders_say(encoder, frozen, heads, image):
    text = heads.text(frozen.text_features(["3 red mugs"], "query")).numpy()[0]
    shown = heads.image(frozen.image_features([image])).numpy()[0]
    both = (text + shown) / np.linalg.norm(text + shown)
    contents = [Content("3 red mugs"), Content("", image), Content("3 red mugs", image)]
    np.testing.assert_allclose(
        vectors(encoder.encode_query(contents)), [text, shown, both], atol=1e-5
    )
    assert {(e.action, e.gate_probability) for e in encoder.encode_query(contents)} == {
        ("direct", 0.0)
    }


def test_texts_are_read_with_the_prompt_of_their_side(encoder, image):
    contents = [Content("mugs"), Content("", image)]
    queries, items = (
        vectors(encoder.encode_query(contents)),
        vectors(encoder.encode_items(contents)),
    )
    assert not np.allclose(queries[0], items[0], atol=1e-3)
    np.testing.assert_array_equal(queries[1], items[1])


def test_a_vector_does_not_depend_on_its_batch(encoder, image, wide_image):
    contents = [Content("mugs " * n, (image, wide_image, None)[n % 3]) for n in range(1, 20)]
    together = vectors(encoder.encode_items(contents))
    alone = [vectors(encoder.encode_items([content]))[0] for content in contents[:4]]
    np.testing.assert_allclose(alone, together[:4], atol=1e-5)


def test_what_has_neither_text_nor_image_is_the_empty_text(encoder):
    (nothing,) = encoder.encode_items([Content()])
    assert np.linalg.norm(nothing.vector) == pytest.approx(1, abs=1e-5)


def test_a_broken_image_fails_its_content_and_no_other(encoder, image):
    contents = [Content("mugs", b"no image"), Content("mugs", image)]
    answers = dict(encoder.stream_items(contents))
    assert isinstance(answers[0], Failure)
    assert "must be a whole PNG" in answers[0].reason
    np.testing.assert_allclose(
        answers[1].vector, encoder.encode_items(contents[1:])[0].vector, atol=1e-6
    )
    assert [encoder.refusal(content) is None for content in contents] == [False, True]


def test_a_clip_alone_fails_its_content_and_one_beside_a_text_is_passed_over(encoder):
    contents = [Content("kite", clip=b"film"), Content(clip=b"film"), Content("kite")]
    answers = dict(encoder.stream_items(contents))
    assert "reads no clips" in answers[1].reason
    np.testing.assert_allclose(answers[0].vector, answers[2].vector, atol=1e-6)


def test_a_sound_alone_fails_its_content_and_one_beside_a_text_is_passed_over(encoder):
    contents = [Content("kite", audio=b"bell"), Content(audio=b"bell"), Content("kite")]
    answers = dict(encoder.stream_items(contents))
    assert "reads no sounds" in answers[1].reason
    np.testing.assert_allclose(answers[0].vector, answers[2].vector, atol=1e-6)


def test_a_vector_that_is_not_finite_fails_its_content(frozen, heads, version, image):
    broken = PairEncoder.open(version)
    broken._heads.image.out.bias.fill_(torch.inf)
    answers = dict(broken.stream_items([Content("mugs"), Content("", image)]))
    assert [isinstance(answers[n], Failure) for n in range(2)] == [False, True]


def test_asked_to_reason_it_says_that_it_does_not(encoder):
    (encoding,) = encoder.encode_query([Content("mugs")], policy="always")
    assert (encoding.action, encoding.fallback) == ("direct", "shop does not reason")


def test_an_image_is_padded_with_white_and_not_squeezed(frozen):
    def png(pixels):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    narrow = np.zeros((40, 20, 3), np.uint8)
    square = np.full((40, 40, 3), 255, np.uint8)
    square[:, 10:30] = 0
    assert torch.equal(frozen.prepared(png(narrow)), frozen.prepared(png(square)))


def test_many_images_are_decoded_a_batch_at_a_time(frozen, image, monkeypatch):
    waiting, most = [], []
    compute = frozen.image.features

    def features(prepared):
        most.append(len(waiting))
        waiting.clear()
        return compute(prepared)

    monkeypatch.setattr(frozen.image, "features", features)
    found = frozen.features_of(
        waiting.append(number) or frozen.prepared(image) for number in range(20)
    )
    assert (most, len(found)) == ([8, 8, 4], 20)


def test_contents_are_drawn_as_they_are_needed(encoder, image, monkeypatch):
    from embedder.pair import encoder as module

    drawn = []
    contents = (drawn.append(n) or Content("red mugs", image) for n in range(3))
    monkeypatch.setattr(module, "CHUNK", 2)
    answered = [(number, len(drawn)) for number, _ in encoder.stream_items(contents)]
    assert answered == [(0, 2), (1, 2), (2, 3)]


def test_dimensions_are_those_of_the_heads(encoder):
    assert (encoder.dim, encoder.dims, encoder.name) == (8, (4, 8), "shop")


@pytest.mark.parametrize(
    "file",
    [
        "heads.safetensors",
        "image/model.safetensors",
        "image/preprocessor_config.json",
        "text/1_Pooling/config.json",
        "text/model.safetensors",
    ],
)
def test_whatever_could_change_a_vector_changes_the_id(version, tmp_path, file):
    copy = shutil.copytree(version, tmp_path / "copy")
    known = model_version(str(version), "auto")
    assert model_version(str(copy), "never") == known  # neither place nor policy is part of it
    with (copy / file).open("ab") as opened:
        opened.write(b" ")
    assert model_version(str(copy), "auto") != known


def test_lineage_is_no_part_of_the_id(version, tmp_path):
    copy = shutil.copytree(version, tmp_path / "copy")
    manifest = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(manifest.replace("{", '{"lineage": {"base": "x"},', 1))
    assert model_version(str(copy), "auto") == model_version(str(version), "auto")


def test_the_id_is_known_without_loading(encoder, version):
    assert kind_of(str(version)) == "pair"
    assert encoder.version == model_version(str(version), "auto")
    assert encoder.version.startswith("shop-")
    assert model_manifest(str(version)).theta == 1


def test_encoders_without_heads_are_no_model():
    with pytest.raises(ValueError, match="ponder finetune --base pair:a,b"):
        kind_of("pair:a,b")


@pytest.mark.parametrize("base", ["pair:a", "pair:a,", "pair:a,b,c"])
def test_a_pair_names_two_encoders(base):
    with pytest.raises(ValueError, match="must name a text encoder and an image encoder"):
        pair_models(base)
