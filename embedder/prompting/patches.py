"""Images as the patches that a Qwen-VL model reads, kept as bytes until they are with the model.

The numbers are those of transformers' `Qwen2VLImageProcessorPil`, which this replaces for speed: it
turns every image into 32-bit floats at once, twice over for the two frames that a still image
is shown as. Bytes without the second frame are an eighth of that to keep and to move.

Shape legend:
  P = patches, C = 3 colours, S = patch size, V = C x S x S, the bytes of one patch
"""

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

    def cut(self, image: Image.Image) -> tuple[np.ndarray, Grid]:
        """Cut an RGB image into [P, V] bytes; also return its patches along time, height, width.

        The image is resized to whole merged patches, within the processor's limits on pixels.
        Patches come in blocks of those that are merged into one token.
        """
        size, merge = self.patch_size, self.merge_size
        height, width = smart_resize(
            image.height,
            image.width,
            factor=size * merge,
            min_pixels=self._size["shortest_edge"],
            max_pixels=self._size["longest_edge"],
        )
        if image.size != (width, height):
            image = image.resize((width, height), self._resample)
        rows, columns = height // size, width // size
        pixels = np.asarray(image).reshape(
            rows // merge, merge, size, columns // merge, merge, size, 3
        )
        patches = pixels.transpose(0, 3, 1, 4, 6, 2, 5).reshape(rows * columns, -1)
        return patches, (1, rows, columns)

    def normalised(self, patches_PV: torch.Tensor) -> torch.Tensor:
        """Return [P, V] float32 patches, rescaled and normalised, on the device of the bytes."""
        device = patches_PV.device
        if device not in self._scale_shift_of:
            self._scale_shift_of[device] = self._scale_shift_2V.to(device)
        scale_V, shift_V = self._scale_shift_of[device]
        return (patches_PV * scale_V).add_(shift_V)

    def with_frames(self, patches_PV: np.ndarray) -> np.ndarray:
        """Return [P, C x frames x S x S] normalised patches with the image as every frame."""
        normalised_PV = self.normalised(torch.tensor(patches_PV)).numpy()
        colours = normalised_PV.reshape(len(patches_PV), 3, 1, -1)
        return np.repeat(colours, self.num_frames, axis=2).reshape(len(patches_PV), -1)
