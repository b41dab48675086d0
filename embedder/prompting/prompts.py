"""Samples as one batch for the engine, padded on the right.

With the padding behind them, tokens are kept from it by causality alone: attention needs no mask,
positions start at 0, and what a prompt leaves in the cache begins at the cache's first column.

Shape legend:
  B = prompts in the batch, L = longest prompt, P = image patches in the batch,
  V = values of one patch, one frame of it, T = image tokens in the batch,
  M = patches of clips in the batch, U = values of one patch, its frames after the first,
  S = audio tokens in the batch, F = frames of a sound, N = bands of these
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from embedder.prompting.patches import PatchCutter
from embedder.prompting.rotary import Grid, rotary_positions
from embedder.prompting.sample import Sample
from embedder.prompting.transfer import on_device


@dataclass(frozen=True, slots=True)
class Motion:
    """How the patches of clips change after their first frames."""

    places_M: torch.Tensor
    """Indices into the batch's patches."""

    change_MU: torch.Tensor
    """Normalised: the later frames less the first."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """A batch of prompts."""

    input_ids_BL: torch.Tensor
    positions_3BL: torch.Tensor
    lengths: list[int]
    image_places_T: torch.Tensor
    """Where the tokens stand that stand for images: indices into the batch laid out flat."""

    patches_PV: torch.Tensor | None
    grids: list[Grid]
    """Patches along time, height and width of each image, and of each moment of a clip."""

    motion: Motion | None = None
    """None where no prompt has a clip."""

    mels: Sequence[torch.Tensor] = ()
    """[F, N] spectrogram of each sound."""

    audio_places_S: torch.Tensor | None = None
    """Where the tokens stand that stand for sounds, as `image_places_T`; None without any."""

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        *,
        image_token: int,
        audio_token: int | None,
        cutter: PatchCutter,
        device: torch.device,
    ) -> "Prompts":
        """Gather samples in their order.

        Args:
            samples: prompts, the answer's control tokens included.
            image_token: id of the token that stands for a part of an image.
            audio_token: of the one for a part of a sound; None where sounds are not read.
            cutter: normalises patches, and knows how many of them one such token covers.
            device: where the tensors are put.
        """
        longest = max(len(sample) for sample in samples)
        ids_BL = np.zeros((len(samples), longest), dtype=np.int64)
        positions_3BL = np.zeros((3, len(samples), longest), dtype=np.int64)
        for row, sample in enumerate(samples):
            ids_BL[row, : len(sample)] = sample.tokens
            images = _images(sample, image_token=image_token, merge_size=cutter.merge_size)
            positions_3BL[:, row, : len(sample)] = rotary_positions(len(sample), images=images)
        patches = [sample.patches_PV for sample in samples if sample.patches_PV is not None]
        patches_PV = (
            cutter.normalised(on_device(np.concatenate(patches), device)) if patches else None
        )
        mels = [sample.mel_FN for sample in samples if sample.mel_FN is not None]
        heard = np.flatnonzero(ids_BL == audio_token) if mels else None
        return cls(
            on_device(ids_BL, device),
            on_device(positions_3BL, device),
            [len(sample) for sample in samples],
            on_device(np.flatnonzero(ids_BL == image_token), device),
            patches_PV,
            [grid for sample in samples for grid in sample.grids],
            _motion(samples, patches_PV, cutter),
            [on_device(mel_FN, device) for mel_FN in mels],
            None if heard is None else on_device(heard, device),
        )

    def tensors(self) -> list[torch.Tensor]:
        """Return all that lies on the device."""
        of_clips = [] if self.motion is None else [self.motion.places_M, self.motion.change_MU]
        perhaps = [self.patches_PV, self.audio_places_S, *of_clips, *self.mels]
        always = [self.input_ids_BL, self.positions_3BL, self.image_places_T]
        return [*always, *(tensor for tensor in perhaps if tensor is not None)]


def _motion(
    samples: Sequence[Sample], patches_PV: torch.Tensor | None, cutter: PatchCutter
) -> Motion | None:
    places, later = [], []
    end = 0
    for sample in samples:
        end += 0 if sample.patches_PV is None else len(sample.patches_PV)
        if sample.later_MU is not None:
            places.append(np.arange(end - len(sample.later_MU), end))
            later.append(sample.later_MU)
    if patches_PV is None or not later:
        return None
    device = patches_PV.device
    places_M = on_device(np.concatenate(places), device)
    bytes_MU = on_device(np.concatenate(later), device)
    # Frame by frame, for each is normalised as a patch of its own.
    frames_MFV = bytes_MU.view(len(places_M), -1, patches_PV.shape[1])
    shown_MFV = cutter.normalised(frames_MFV.flatten(0, 1)).view(frames_MFV.shape)
    return Motion(places_M, (shown_MFV - patches_PV[places_M][:, None]).flatten(1))


def _images(sample: Sample, *, image_token: int, merge_size: int) -> list[tuple[int, Grid]]:
    """Return each image's first token, and its tokens along time, height and width."""
    images: list[tuple[int, Grid]] = []
    end = 0
    for frames, height, width in sample.grids:
        shape = (frames, height // merge_size, width // merge_size)
        start = sample.tokens.index(image_token, end)
        end = start + math.prod(shape)
        images.append((start, shape))
    return images
