"""Images as the patches that a Qwen-VL model reads, kept as bytes until they are with the model.

The numbers are those of transformers' `Qwen2VLImageProcessorPil`, which this replaces for speed: it
turns every image into 32-bit floats at once, twice over for the two frames that a still image
is shown as. Bytes without the second frame are an eighth of that to keep and to move.

Shape legend:
  P = patches, C = 3 colours, S = patch size, V = C x S x S, the bytes of one patch,
  T = frames of a clip, H, W = their height and width, M = patches of a clip,
  U = bytes of one patch in the frames after the first
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from embedder.prompting.rotary import Grid


class PatchCutter:
    """Cuts images as a checkpoint's image processor would."""

    def __init__(self, image_processor: Any) -> None:
        """Takes sizes, resampling and normalisation from the processor."""
        self.patch_size: int = image_processor.patch_size
        self.merge_size: int = image_processor.merge_size
        self.num_frames: int = image_processor.temporal_patch_size
        self._size, self._resample = image_processor.size, image_processor.resample
        # (value * rescale - mean) / std, as one multiplication and one addition.
        std, mean = np.asarray(image_processor.image_std), np.asarray(image_processor.image_mean)
        scale, shift = image_processor.rescale_factor / std, -mean / std
        area = self.patch_size**2
        self._scale_shift_2V = torch.tensor(
            np.repeat([scale, shift], area, axis=1), dtype=torch.float32
        )
        self._scale_shift_of: dict[torch.device, torch.Tensor] = {}

    def cut(self, image: Image.Image, *, max_tokens: int | None = None) -> tuple[np.ndarray, Grid]:
        """Cut an RGB image into [P, V] bytes; also return its patches along time, height, width.

        The image is resized to whole merged patches, within the processor's limits on pixels.
        Patches come in blocks of those that are merged into one token.

        Args:
            image: upright.
            max_tokens: most of them; None, or more than the processor allows: what it allows.
        """
        width, height = self._fitting(image.width, image.height, max_tokens)
        if image.size != (width, height):
            image = image.resize((width, height), self._resample)
        return self._patches(np.asarray(image)[None])[0], self._grid(width, height)

    def cut_clip(
        self, frames_THWC: np.ndarray, *, max_tokens: int
    ) -> tuple[np.ndarray, np.ndarray, tuple[Grid, ...]]:
        """Cut frames into temporal patches; return their first frames and the later ones, as bytes.

        A temporal patch is the same place in so many frames one after the other; the last frame is
        repeated until the last one is full, as Qwen3-VL does. Each frame is resized as an image
        would be that may have its share of the tokens. (Qwen3-VL's own limits are of all frames
        together, and larger.)

        Args:
            frames_THWC: uint8, RGB.
            max_tokens: of all of them.

        Returns:
            [M, V], [M, U] and the patches of each moment along time, height and width.
        """
        num_frames, *size, _ = frames_THWC.shape
        num_moments = -(-num_frames // self.num_frames)
        width, height = self._fitting(size[1], size[0], max(1, max_tokens // num_moments))
        if size != [height, width]:
            images = map(Image.fromarray, frames_THWC)
            resized = [image.resize((width, height), self._resample) for image in images]
            frames_THWC = np.stack([np.asarray(image) for image in resized])
        patches_TPV = self._patches(frames_THWC)
        full = np.minimum(np.arange(num_moments * self.num_frames), num_frames - 1)
        frame_of = full.reshape(num_moments, self.num_frames)
        first = patches_TPV[frame_of[:, 0]].reshape(-1, patches_TPV.shape[2])
        later = patches_TPV[frame_of[:, 1:]].swapaxes(1, 2).reshape(len(first), -1)
        return first, later, (self._grid(width, height),) * num_moments

    def _fitting(self, width: int, height: int, max_tokens: int | None) -> tuple[int, int]:
        """Return the width and height that an image is resized to."""
        factor = self.patch_size * self.merge_size
        most = self._size["longest_edge"]
        if max_tokens is not None:
            most = min(most, max_tokens * factor**2)
        fitting_height, fitting_width = smart_resize(
            height,
            width,
            factor=factor,
            min_pixels=min(self._size["shortest_edge"], most),
            max_pixels=most,
        )
        return fitting_width, fitting_height

    def _grid(self, width: int, height: int) -> Grid:
        return 1, height // self.patch_size, width // self.patch_size

    def _patches(self, frames_THWC: np.ndarray) -> np.ndarray:
        """Return [T, P, V], in blocks of those that are merged into one token."""
        num_frames, height, width, _ = frames_THWC.shape
        size, merge = self.patch_size, self.merge_size
        blocks = frames_THWC.reshape(
            *(num_frames, height // size // merge, merge, size),
            *(width // size // merge, merge, size, 3),
        )
        ordered = blocks.transpose(0, 1, 4, 2, 5, 7, 3, 6)
        return ordered.reshape(num_frames, -1, 3 * size * size)

    def moments(self, times_s: Sequence[float]) -> list[float]:
        """Return the middle of the times of each temporal patch, in seconds."""
        size = self.num_frames
        full = [*times_s, *[times_s[-1]] * (-len(times_s) % size)]
        return [(full[i] + full[i + size - 1]) / 2 for i in range(0, len(full), size)]

    def normalised(self, patches_PV: torch.Tensor) -> torch.Tensor:
        """Return [P, V] float32 patches, rescaled and normalised, on the device of the bytes."""
        device = patches_PV.device
        if device not in self._scale_shift_of:
            self._scale_shift_of[device] = self._scale_shift_2V.to(device)
        scale_V, shift_V = self._scale_shift_of[device]
        return (patches_PV * scale_V).add_(shift_V)

    def with_frames(self, patches_PV: np.ndarray, later_MU: np.ndarray | None = None) -> np.ndarray:
        """Return [P, C x frames x S x S] normalised patches, a still one the same in all frames.

        Args:
            patches_PV: their first frames, as bytes.
            later_MU: the later frames of the last M of them; None: all are still.
        """
        frames = np.repeat(patches_PV[:, None], self.num_frames, axis=1)
        if later_MU is not None:
            later = later_MU.reshape(len(later_MU), self.num_frames - 1, -1)
            frames[len(frames) - len(later) :, 1:] = later
        flat = self.normalised(torch.tensor(frames.reshape(-1, frames.shape[2]))).numpy()
        colours = flat.reshape(len(frames), self.num_frames, 3, -1).swapaxes(1, 2)
        return colours.reshape(len(frames), -1)
