"""Tests for embedder/pair/efficientnet.py: against the published form, written out plainly."""

import pytest
import torch
import torch.nn.functional as F

from embedder.pair.efficientnet import STAGES, EfficientNetLite0, folded_weights


def with_norms(seed):
    """Random published weights: convolutions without bias, each with a batch normalisation."""
    drawn = torch.Generator().manual_seed(seed)
    made = {}

    def add(convolution, norm, outputs, inputs, kernel):
        shape = (outputs, inputs, kernel, kernel)
        made[f"{convolution}.weight"] = torch.randn(shape, generator=drawn) / (inputs**0.5 * kernel)
        for name in ("weight", "running_var"):
            made[f"{norm}.{name}"] = 0.5 + torch.rand(outputs, generator=drawn)
        for name in ("bias", "running_mean"):
            made[f"{norm}.{name}"] = torch.randn(outputs, generator=drawn) / 2

    add("_conv_stem", "_bn0", 32, 3, 3)
    inputs, number = 32, 0
    for kernel, _, expansion, outputs, repeats in STAGES:
        for _ in range(repeats):
            block, inner = f"_blocks.{number}", inputs * expansion
            if expansion > 1:
                add(f"{block}._expand_conv", f"{block}._bn0", inner, inputs, 1)
            add(f"{block}._depthwise_conv", f"{block}._bn1", inner, 1, kernel)
            add(f"{block}._project_conv", f"{block}._bn2", outputs, inner, 1)
            inputs, number = outputs, number + 1
    add("_conv_head", "_bn1", 1280, 320, 1)
    made["_fc.weight"] = torch.zeros(1000, 1280)
    return made


def published_forward(weights, images):
    """The network as it was published, for inputs that every stride divides."""

    def convolve(x, convolution, norm, *, stride=1, is_depthwise=False):
        weight = weights[f"{convolution}.weight"]
        kernel = weight.shape[-1]
        before = (kernel - stride) // 2  # TensorFlow: the odd one of the padding comes last
        x = F.pad(x, (before, kernel - stride - before) * 2) if kernel > 1 else x
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] if is_depthwise else 1)
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(weights[f"{norm}.{name}"] for name in names), eps=1e-3)

    x = F.relu6(convolve(images, "_conv_stem", "_bn0", stride=2))
    number, middle = 0, None
    for _, first_stride, expansion, _, repeats in STAGES:
        for repeat in range(repeats):
            block, before, stride = f"_blocks.{number}", x, 1 if repeat else first_stride
            if expansion > 1:
                x = F.relu6(convolve(x, f"{block}._expand_conv", f"{block}._bn0"))
            x = convolve(
                x, f"{block}._depthwise_conv", f"{block}._bn1", stride=stride, is_depthwise=True
            )
            x = convolve(F.relu6(x), f"{block}._project_conv", f"{block}._bn2")
            x = x + before if x.shape == before.shape else x
            number += 1
            middle = x if number == 11 else middle
    head = F.relu6(convolve(x, "_conv_head", "_bn1"))
    return torch.cat([head.mean(dim=(2, 3)), middle.mean(dim=(2, 3))], dim=1)


@pytest.fixture(scope="module")
def published():
    return with_norms(seed=0)


@torch.inference_mode()
def test_folded_weights_give_the_features_of_the_published_form(published):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    network = EfficientNetLite0().eval()
    network.load_state_dict(folded_weights(published))
    expected = published_forward(published, images)
    assert expected.shape == (2, EfficientNetLite0.num_features) == (2, 1392)
    # Sums in another order, over seventeen blocks.
    assert (network(images) - expected).abs().max() / expected.abs().max() < 1e-5


@torch.inference_mode()
def test_an_image_of_odd_size_is_padded_after_its_last_row():
    network = EfficientNetLite0()
    stem = network.stem
    torch.nn.init.ones_(stem.weight)
    torch.nn.init.zeros_(stem.bias)
    ones = torch.ones(1, 3, 5, 5)
    # Rows 0-4 are read by windows around 0, 2 and 4: at both ends one row is missing.
    expected = 3 * torch.tensor([[4.0, 6, 4], [6, 9, 6], [4, 6, 4]])
    assert torch.equal(stem(ones)[0, 0], expected)
    # Of four rows only the last window lacks one: nothing is padded before the first.
    assert torch.equal(stem(ones[:, :, :4, :4])[0, 0], 3 * torch.tensor([[9.0, 6], [6, 4]]))
