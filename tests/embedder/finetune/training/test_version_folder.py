"""Tests for version_folder.py: what is written loads as what was trained."""

from dataclasses import replace

import pytest
import torch

from embedder.finetune.training.adapters import averaged, make_trainable
from embedder.finetune.training.config import Lora
from embedder.finetune.training.optimizer import AveragedAdamW
from embedder.finetune.training.version_folder import write_version
from embedder.model.checkpoint import load


@pytest.mark.parametrize("lora", [None, Lora(rank=2, alpha=4)])
def test_a_written_version_has_the_trained_weights(fresh, tmp_path, lora):
    start = fresh()
    adapted = make_trainable(
        start.backbone,
        start.inputs,
        lora=lora,
        train_vision_encoder=False,
        train_audio_encoder=True,
        seed=0,
    )
    optimizer = AveragedAdamW(
        start.backbone.parameters(), weight_decay=0.0, average_decay=0.0, max_gradient_norm=1.0
    )
    for weight, average in zip(optimizer.parameters, optimizer.average, strict=True):
        with torch.no_grad():
            weight.add_(0.01)
            average.copy_(weight)
    trained = averaged(start.backbone, optimizer, adapted)
    expected = [parameter.clone() for parameter in trained.parameters()]
    manifest = replace(start.manifest, name="tuned")
    write_version(trained, start, tmp_path / "tuned", manifest=manifest)
    read = load(str(tmp_path / "tuned"))
    assert read.manifest == manifest
    assert read.gate_is_trained
    for one, other in zip(read.backbone.parameters(), expected, strict=True):
        assert torch.equal(one, other)


def test_a_version_in_half_precision_has_the_weights_rounded(fresh, tmp_path):
    start = fresh()
    with torch.no_grad():
        start.backbone.model.model.language_model.norm.weight.add_(1e-3)
    expected = [parameter.half().float() for parameter in start.backbone.parameters()]
    write_version(start.backbone, start, tmp_path, manifest=start.manifest, is_half=True)
    read = load(str(tmp_path)).backbone
    for one, other in zip(read.parameters(), expected, strict=True):
        assert torch.equal(one, other)
