"""EfficientNet-Lite0, whose weights are free and small, without its classifier.

Facts of the architecture are those of the published checkpoint (Tan and Le 2019; the Lite variant
of the TPU repository, 2020): no squeeze-and-excitation, ReLU6 in place of swish, stem and head of
fixed width, TensorFlow's padding. Batch normalisation is folded into the convolutions, which is the
same function for a network that is not trained, and faster.

Shape legend: N = images, C = channels, H, W = height and width, F = features
"""

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import nn

STAGES = (
    # kernel, stride, expansion, channels, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
MIDDLE_STAGE = 4
"""The stage after which the middle features are read: textures and colours, which the last layers
have given up for classes."""

STEM, HEAD = 32, 1280
BATCH_NORM_EPS = 1e-3


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's padding: at stride 2 the extra row and column come last."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        """Make a convolution with a bias; `groups` equal to `inputs` is depth-wise."""
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=True)

    def forward(self, maps_NCHW: torch.Tensor) -> torch.Tensor:
        """Return maps of ceil(size / stride)."""
        pads = []
        for size in (maps_NCHW.shape[3], maps_NCHW.shape[2]):  # F.pad begins with the last axis
            kernel, stride = self.kernel_size[0], self.stride[0]
            missing = max(((size - 1) // stride) * stride + kernel - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(maps_NCHW, pads) if any(pads) else maps_NCHW)


class Block(nn.Module):
    """Inverted residual: expand, filter each channel, project; added to its input where it fits."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        """Make a block; the first stage has no expansion."""
        super().__init__()
        inner = inputs * expansion
        self.expand = SameConv(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = SameConv(inner, inner, kernel, stride=stride, groups=inner)
        self.project = SameConv(inner, outputs, 1)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, maps_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the block's maps."""
        inner = maps_NCHW if self.expand is None else F.relu6(self.expand(maps_NCHW))
        projected = self.project(F.relu6(self.depthwise(inner)))
        return maps_NCHW + projected if self.is_residual else projected


class EfficientNetLite0(nn.Module):
    """Images to features: what the classifier would read, and the middle of the network."""

    num_features = HEAD + STAGES[MIDDLE_STAGE][3]

    def __init__(self) -> None:
        """Make the network with random weights."""
        super().__init__()
        self.stem = SameConv(3, STEM, 3, stride=2)
        self.blocks = nn.ModuleList(_blocks())
        self.head = SameConv(STAGES[-1][3], HEAD, 1)

    def forward(self, images_N3HW: torch.Tensor) -> torch.Tensor:
        """Return [N, F] features, the last layer's pooled and then the middle ones'.

        Args:
            images_N3HW: pixel values as (value - 127) / 128, of 224 x 224.
        """
        maps_NCHW, middle = F.relu6(self.stem(images_N3HW)), _num_blocks(MIDDLE_STAGE + 1)
        pooled = []
        for number, block in enumerate(self.blocks, start=1):
            maps_NCHW = block(maps_NCHW)
            if number == middle:
                pooled.append(maps_NCHW.mean(dim=(2, 3)))
        pooled.insert(0, F.relu6(self.head(maps_NCHW)).mean(dim=(2, 3)))
        return torch.cat(pooled, dim=1)


def folded_weights(published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights of `EfficientNetLite0` from those published with batch normalisation.

    The classifier (`_fc`) is left out.

    Args:
        published: state as of efficientnet_pytorch, with names such as `_blocks.0._bn1.weight`.
    """
    made = _folded("stem", "_conv_stem", "_bn0", published)
    for number in range(_num_blocks(len(STAGES))):
        own, their = f"blocks.{number}", f"_blocks.{number}"
        if f"{their}._expand_conv.weight" in published:
            made |= _folded(f"{own}.expand", f"{their}._expand_conv", f"{their}._bn0", published)
        made |= _folded(f"{own}.depthwise", f"{their}._depthwise_conv", f"{their}._bn1", published)
        made |= _folded(f"{own}.project", f"{their}._project_conv", f"{their}._bn2", published)
    return made | _folded("head", "_conv_head", "_bn1", published)


def _folded(
    own: str, convolution: str, norm: str, published: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return weight and bias of a convolution that scales and shifts as the norm behind it did."""
    variance = published[f"{norm}.running_var"].double()
    scale = published[f"{norm}.weight"].double() / torch.sqrt(variance + BATCH_NORM_EPS)
    shift = published[f"{norm}.bias"].double() - published[f"{norm}.running_mean"].double() * scale
    weight = published[f"{convolution}.weight"].double() * scale[:, None, None, None]
    return {f"{own}.weight": weight.float().contiguous(), f"{own}.bias": shift.float()}


def _blocks() -> Iterator[Block]:
    inputs = STEM
    for kernel, stride, expansion, outputs, number in STAGES:
        for repeat in range(number):
            yield Block(
                inputs,
                outputs,
                kernel=kernel,
                stride=1 if repeat else stride,
                expansion=expansion,
            )
            inputs = outputs


def _num_blocks(num_stages: int) -> int:
    return sum(stage[-1] for stage in STAGES[:num_stages])
