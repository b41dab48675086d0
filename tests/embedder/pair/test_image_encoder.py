"""Tests for embedder/pair/image_encoder.py: vision models of transformers, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, ResNetConfig, ResNetModel, ViTConfig, ViTModel

from embedder.pair.image_encoder import open_image_encoder

VIT = ViTConfig(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    image_size=32,
    patch_size=8,
)
RESNET = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1])
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 32, "width": 32},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


@pytest.fixture(scope="module", params=["vit", "vit without pooler", "resnet"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vision")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if request.param == "resnet":
            model = ResNetModel(RESNET)
        else:
            model = ViTModel(VIT, add_pooling_layer=request.param == "vit")
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (50, 40, 3), np.uint8)) for _ in range(3)]


def test_features_are_those_of_transformers(folder, images):
    encoder = open_image_encoder(str(folder))
    found = encoder.features([encoder.prepared(image) for image in images])
    pixels = [
        np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR), np.float32) / 127.5 - 1
        for image in images
    ]
    values = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    model, loaded = AutoModel.from_pretrained(folder, output_loading_info=True)
    with torch.inference_mode():
        output = model(pixel_values=values)
    expected = output.pooler_output.flatten(1)
    if loaded["missing_keys"]:  # its pooler has random weights, new ones every time
        expected = output.last_hidden_state.mean(dim=1)
    assert found.shape == (3, encoder.num_features)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_saved_encoder_opens_to_the_same_features(folder, images, tmp_path):
    encoder = open_image_encoder(str(folder))
    encoder.save(tmp_path / "saved")
    saved = open_image_encoder(str(tmp_path / "saved"))
    (one,) = [encoder.prepared(images[0])]
    torch.testing.assert_close(saved.features([saved.prepared(images[0])]), encoder.features([one]))
    # What its class would have chosen by itself is written down: it decides the vectors.
    assert "resample" in json.loads((tmp_path / "saved" / "preprocessor_config.json").read_text())


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "must hold config.json"),
        ("preprocessor_config.json", "must hold preprocessor_config.json"),
        ("model.safetensors", r"must hold \*\.safetensors"),
    ],
)
def test_what_is_missing_is_named(folder, tmp_path, file, message):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / file).unlink()
    (copy / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(FileNotFoundError, match=message):
        open_image_encoder(str(copy))


def test_a_model_without_all_of_its_weights_is_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    del weights[sorted(weights)[0]]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="must hold all weights"):
        open_image_encoder(str(copy))


def test_a_model_that_brings_code_gets_none_of_it_run(folder, tmp_path):
    copy, marker = shutil.copytree(folder, tmp_path / "copy"), tmp_path / "ran"
    (copy / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (copy / "config.json").write_text(json.dumps(config))
    save_file({"weight": torch.zeros(1)}, copy / "model.safetensors")
    with pytest.raises(ValueError, match=r"evil|trust_remote_code"):
        open_image_encoder(str(copy))
    assert not marker.exists()
