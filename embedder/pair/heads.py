"""Heads: from the features of frozen encoders to one space of texts and images.

Shape legend: N = contents, T = their texts, I = their images, F = features, D = embedding dimension
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True, slots=True)
class Features:
    """Features of contents that have a text, an image, or both."""

    num_contents: int
    """N."""

    text_rows_T: torch.Tensor
    """Which content each text belongs to, int64."""

    text_TF: torch.Tensor
    image_rows_I: torch.Tensor
    """Which content each image belongs to, int64."""

    image_IF: torch.Tensor


class Head(nn.Module):
    """Perceptron of one hidden layer over features that are centred, and scaled all alike.

    One scale for all: with one for each, features that are hardly ever anything would count as much
    as those that tell contents apart (measured: docs/real_content.md).
    """

    mean_F: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, num_features: int, hidden_size: int, dim: int, *, dropout: float = 0.0
    ) -> None:
        """Make a head that takes its features as they come, until it is told their statistics."""
        super().__init__()
        self.register_buffer("mean_F", torch.zeros(num_features))
        self.register_buffer("scale", torch.ones(()))
        self.hidden = nn.Linear(num_features, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden_size, dim)

    def centre(self, mean_F: torch.Tensor, deviation_F: torch.Tensor) -> None:
        """Take the features' means and standard deviations, of which the root mean square counts.

        Raises:
            ValueError: every feature is always the same.
        """
        deviation = deviation_F.square().mean().sqrt()
        if not deviation > 0:
            raise ValueError("features must differ between contents, got the same of all of them")
        self.mean_F.copy_(mean_F)
        self.scale.copy_(1 / deviation)

    def forward(self, features_NF: torch.Tensor) -> torch.Tensor:
        """Return [N, D] L2-normalised vectors."""
        centred_NF = (features_NF - self.mean_F) * self.scale
        return F.normalize(self.out(self.dropout(F.gelu(self.hidden(centred_NF)))), dim=-1)


class Heads(nn.Module):
    """The head of texts and the head of images."""

    def __init__(
        self,
        *,
        text_features: int,
        image_features: int,
        hidden_size: int,
        dim: int,
        dropout: float = 0.0,
    ) -> None:
        """Make both with random weights of the global generator."""
        super().__init__()
        self.text = Head(text_features, hidden_size, dim, dropout=dropout)
        self.image = Head(image_features, hidden_size, dim, dropout=dropout)

    @property
    def dim(self) -> int:
        """D."""
        return self.text.out.out_features

    def forward(self, features: Features) -> torch.Tensor:
        """Return [N, D] L2-normalised vectors: of what has both, the sum of two unit vectors.

        What has one alone is its vector, and what has neither is zero.
        """
        summed_ND = features.text_TF.new_zeros(features.num_contents, self.dim)
        for head, rows, given in (
            (self.text, features.text_rows_T, features.text_TF),
            (self.image, features.image_rows_I, features.image_IF),
        ):
            if len(rows):
                summed_ND = summed_ND.index_add(0, rows, head(given))
        return F.normalize(summed_ND, dim=-1)
