"""Tests for version.py and checkpoint.py: identity, and what is never loaded."""

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from embedder.content import Content
from embedder.mmemb_r1 import EmbedderConfig, MMEmbR1
from embedder.model.checkpoint import load
from embedder.prompting.template import PONDER_TOKENS
from embedder.version import (
    Manifest,
    configured_version,
    read_manifest,
    resolve,
    version_id,
)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_equal_folders_have_equal_ids_wherever_they_are(folder, copy):
    assert configured_version(str(folder), "auto") == configured_version(str(copy), "auto")


def test_the_policy_is_part_of_the_id(folder):
    assert configured_version(str(folder), "auto") != configured_version(str(folder), "never")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("manifest.json", '"theta": 0.5', '"theta": 0.6'),
        ("manifest.json", "find the item", "find an item"),
        ("preprocessor_config.json", '"patch_size": 16', '"patch_size": 32'),
        ("config.json", '"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'),
    ],
)
def test_whatever_could_change_a_vector_changes_the_id(folder, copy, file, old, new):
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new))
    assert configured_version(str(folder), "auto") != configured_version(str(copy), "auto")


def test_a_version_of_other_numbers_is_told_from_that_of_float32(folder):
    half = MMEmbR1.open(EmbedderConfig(model=str(folder), dtype="bfloat16"))
    assert half.version == configured_version(str(folder), "auto", dtype="bfloat16")
    whole = MMEmbR1.open(EmbedderConfig(model=str(folder)))
    assert whole.version == configured_version(str(folder), "auto") != half.version
    one, other = (model.encode_query([Content("kites")])[0].vector for model in (half, whole))
    assert np.abs(one - other).max() > 1e-5  # what the id is for
    assert one @ other > 0.99


def test_code_that_gives_other_vectors_changes_the_id(folder, monkeypatch):
    before = configured_version(str(folder), "auto")
    monkeypatch.setattr("embedder.version.ENGINE_VERSION", 0)
    assert configured_version(str(folder), "auto") != before


def test_one_changed_weight_changes_the_id(folder, copy):
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert configured_version(str(folder), "auto") != configured_version(str(copy), "auto")


def test_a_folder_with_only_pickled_weights_is_refused(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"must hold \*\.safetensors"):
        resolve(str(copy))


def test_a_path_that_does_not_exist_is_not_taken_for_a_hub_id(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        resolve(str(tmp_path / "nothing"))


def test_a_checkpoint_that_brings_code_gets_none_of_it_run(copy, tmp_path):
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForImageTextToText": "evil.Model"}
    (copy / "config.json").write_text(json.dumps(config))
    marker = tmp_path / "ran"
    (copy / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Config: ...\n")
    load(str(copy))
    assert not marker.exists()


def test_a_saved_version_gives_the_vectors_it_was_saved_with(folder, checkpoint):
    """Half precision costs 3 decimals of a weight; the vectors here agree to 2e-2."""
    contents = [Content("3 red mugs"), Content("kites")]
    before = MMEmbR1(checkpoint, EmbedderConfig()).encode_query(contents, policy="never")
    after = MMEmbR1.open(EmbedderConfig(model=str(folder))).encode_query(contents, policy="never")
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(old.vector, new.vector, atol=2e-2)


def test_a_checkpoint_without_control_tokens_gets_them_and_says_so(copy):
    """A stock Qwen3-VL has none of the four; the new rows start as the turn marker's."""
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["added_tokens"] = [
        token for token in tokenizer["added_tokens"] if token["content"] not in PONDER_TOKENS
    ]
    for token in PONDER_TOKENS:
        tokenizer["model"]["vocab"].pop(token, None)
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    settings.pop("additional_special_tokens", None)
    settings.pop("extra_special_tokens", None)
    settings.pop("added_tokens_decoder", None)
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    checkpoint = load(str(copy))
    assert not checkpoint.gate_is_trained
    rows = checkpoint.backbone.model.get_input_embeddings().weight
    turn = checkpoint.inputs.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert (rows[checkpoint.inputs.emb_id] == rows[turn]).all()
    model = MMEmbR1(checkpoint, EmbedderConfig())
    assert model.encode_query([Content("mugs")])[0].vector.shape == (model.dim,)


def test_a_checkpoint_without_a_manifest_gets_the_defaults(copy):
    (copy / "manifest.json").unlink()
    assert read_manifest(copy).name == "copy"
    assert read_manifest(copy).theta == 0.5


def test_a_source_with_instructions_has_an_id_of_its_own_and_leaves_the_others_theirs(copy):
    before = configured_version(str(copy), "auto")
    values = json.loads((copy / "manifest.json").read_text())
    values["instructions"] = {"behaviour": ["Who likes it?", "What is it liked with?"]}
    (copy / "manifest.json").write_text(json.dumps(values))
    assert configured_version(str(copy), "auto") == before
    manifest = read_manifest(copy)
    behaviour = manifest.for_source("behaviour")
    assert behaviour.query_instruction == "Who likes it?"
    assert behaviour.item_instruction == "What is it liked with?"
    assert behaviour.dims == manifest.dims
    assert version_id(copy, behaviour, "auto") != before
    assert manifest.for_source("search") == manifest


@pytest.mark.parametrize("wrong", [["a", "b"], {"s": "ab"}, {"s": ["a"]}, {"s": ["a", 1]}])
def test_instructions_that_are_no_pairs_are_refused(copy, wrong):
    (copy / "manifest.json").write_text(json.dumps({"name": "x", "instructions": wrong}))
    with pytest.raises(ValueError, match="instructions must be an object of"):
        read_manifest(copy)


def test_a_manifest_value_out_of_range_is_refused(copy):
    (copy / "manifest.json").write_text('{"name": "x", "theta": 2}')
    with pytest.raises(ValueError, match=r"theta must be in \[0, 1\], got 2"):
        read_manifest(copy)


def test_a_manifest_that_says_what_is_not_known_is_refused(copy):
    values = {"name": "x", "lineage": {"base": "nano"}, "hunches": None}
    (copy / "manifest.json").write_text(json.dumps(values))
    assert read_manifest(copy) == Manifest(name="x")
    (copy / "manifest.json").write_text(json.dumps(values | {"hunches": {"num_steps": 3}}))
    with pytest.raises(ValueError, match=r"no keys but those of .*, got hunches; use the version"):
        load(str(copy))


def test_where_a_vector_is_read_is_part_of_the_id(folder):
    manifest = read_manifest(folder)
    read = [replace(manifest, readout=where) for where in ("at", "before", "mean")]
    ids = [version_id(folder, one, "auto") for one in read]
    assert ids[0] == configured_version(str(folder), "auto")
    assert len({*ids}) == 3


@pytest.mark.parametrize("max_image_tokens", [4, 9, 16])
def test_a_large_image_is_scaled_down_to_the_manifests_number_of_tokens(copy, max_image_tokens):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["max_image_tokens"] = max_image_tokens
    (copy / "manifest.json").write_text(json.dumps(manifest))
    buffer = io.BytesIO()
    Image.new("RGB", (900, 700), "red").save(buffer, "PNG")
    inputs = load(str(copy)).inputs
    tokens = inputs.sample(Content("", buffer.getvalue()), "find").tokens
    num_image_tokens = tokens.count(inputs.tokenizer.convert_tokens_to_ids("<|image_pad|>"))
    assert max_image_tokens / 3 < num_image_tokens <= max_image_tokens
